package sim_test

import (
	"context"
	"errors"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// tails are the sidecars beside the servers, as one controller knows them.
type tails struct{ *controller }

// Has implements executor.Tails.
func (t tails) Has(topology.Key) bool { return t.w.cfg.sidecars }

// Open implements executor.Tails.
func (t tails) Open(ctx context.Context, _ string, k topology.Key, holds gtid.Set) (executor.Tail, error) {
	s := t.w.server(k)
	result, err := t.ask(ctx, "tail "+k.Host, false, func(f *flight) {
		if t.w.lost() {
			t.w.fail(f)
			return
		}
		t.w.after(t.w.latency(), func() {
			switch {
			case s.hostDown || t.w.cut(t.id, s.key.Host):
				return // no answer of any kind
			case s.up:
				t.w.answer(f, t.id, s.key.Host, nil, errors.New("it runs"))
			default:
				tail := executor.Tail{Port: k.Port}
				for _, id := range s.binlog {
					if set := t.w.transactions[id].set; !holds.Contains(set) && !t.w.cfg.mutant.empties {
						tail.Set = tail.Set.Union(set)
						tail.Count++
					}
				}
				t.w.answer(f, t.id, s.key.Host, tail, nil)
			}
		})
	})
	if err != nil {
		return executor.Tail{}, err
	}
	return result.(executor.Tail), nil
}

// Take implements executor.Session. The tail comes in pieces, and none of it
// while the crashed server's host is out of reach.
func (s *session) Take(ctx context.Context, source topology.Key, _, _ string) error {
	_, err := s.verb(ctx, "take from "+source.Host, true, func() (any, error) {
		from := s.s.w.server(source)
		if len(s.s.relay) > 0 {
			return nil, errors.New("received transactions are not applied yet")
		}
		s.s.follow(nil)
		s.s.source, s.s.io, s.s.sql = from, true, true
		s.s.tail = append([]int{}, from.binlog...)
		s.s.takeTail()
		return nil, nil
	})
	return err
}

// takeTail receives a part, and the rest later.
func (s *server) takeTail() {
	from := s.source
	s.w.after(s.w.latency(), func() {
		if !s.alive() || !s.io || s.source != from || s.tail == nil || from.hostDown || s.w.cut(s.key.Host, from.key.Host) {
			return
		}
		part := min(len(s.tail), 1+s.w.rng.IntN(40))
		for _, id := range s.tail[:part] {
			s.hold(id)
		}
		s.w.stats.salvaged += min(1, part)
		s.tail = s.tail[part:]
		s.apply()
		if len(s.tail) > 0 {
			s.takeTail()
		}
	})
}
