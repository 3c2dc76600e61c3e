package observer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
)

// pens is a Writer whose attempts end as the test says.
type pens struct {
	mu       sync.Mutex
	sight    topology.WriteSight
	err      error
	tried    map[topology.Key]int
	released []topology.Key
}

func (p *pens) Write(_ context.Context, a topology.Key) (topology.WriteSight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried[a]++
	return p.sight, p.err
}

func (p *pens) Release(a topology.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = append(p.released, a)
}

func (p *pens) set(trouble topology.Trouble, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sight, p.err = topology.WriteSight{Trouble: trouble}, err
}

func TestWritesAreTriedOnTheMasterAlone(t *testing.T) {
	p := &pens{tried: map[topology.Key]int{}}
	cfg := observer.Config{Seeds: []topology.Key{k("db1")}, Writer: p}
	watch(t, trio(), cfg, discovery.Config{}, func(t *testing.T, v *watching) {
		sight := func(host string) *topology.WriteSight {
			return v.Look(t.Context(), []topology.Key{k(host)}, nil).Observations[k(host)].Write
		}
		pass(3 * time.Second)
		if len(p.tried) != 0 || sight("db1") != nil {
			t.Errorf("without a master: tried %v, seen %v", p.tried, sight("db1"))
		}
		v.SetMaster("db1-3306", k("db1"))
		pass(3 * time.Second)
		if w := sight("db1"); w == nil || *w != (topology.WriteSight{}) {
			t.Errorf("writes succeed, seen %+v", w)
		}
		if sight("db2") != nil || p.tried[k("db2")] != 0 {
			t.Errorf("tried %v", p.tried)
		}

		p.set(topology.TroubleStalled, nil)
		if s := v.suspicion(t, 2*time.Second, "stalled-writes"); s.Key != k("db1") {
			t.Errorf("got %+v", s)
		}
		v.calm(t, 4*time.Second) // it is reported once
		w := sight("db1")
		if w == nil || w.Trouble != topology.TroubleStalled || w.For < 4*time.Second || w.For > 7*time.Second {
			t.Errorf("stalled, seen %+v", w)
		}
		snapshot := v.Snapshot("db1-3306", k("db1"))
		if o, ok := snapshot.Sight(k("db1")); !ok || o.Write == nil || o.Write.Trouble != topology.TroubleStalled {
			t.Errorf("in the snapshot: %+v", o.Write)
		}

		// One trouble that becomes another is news, and begins anew: each has a
		// time of its own before it is acted on. One that comes back counts on.
		p.set(topology.TroubleDiskFull, nil)
		v.suspicion(t, 2*time.Second, "full-disk")
		if w := sight("db1"); w.For > 3*time.Second {
			t.Errorf("it did not begin anew: %+v", w)
		}
		p.set(topology.TroubleStalled, nil)
		v.suspicion(t, 2*time.Second, "stalled-writes")
		if w := sight("db1"); w.For < 5*time.Second {
			t.Errorf("it began anew: %+v", w)
		}

		// A server that cannot be asked is not sick, and its time does not go on.
		p.set("", errors.New("read-only"))
		pass(2 * time.Second)
		if w := sight("db1"); w != nil {
			t.Errorf("nothing is known, seen %+v", w)
		}
		if problems := strings.Join(v.Problems(), "\n"); !strings.Contains(problems, "no write can be tried on this master: read-only") {
			t.Errorf("problems: %s", problems)
		}
		p.set(topology.TroubleDiskFull, nil)
		pass(1100 * time.Millisecond)
		if w := sight("db1"); w == nil || w.For > 2*time.Second {
			t.Errorf("it did not begin anew: %+v", w)
		}

		v.SetMaster("db1-3306", k("db2"))
		pass(2 * time.Second)
		if w := sight("db1"); w != nil {
			t.Errorf("deposed, seen %+v", w)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.released) != 1 || p.released[0] != k("db1") || p.tried[k("db2")] == 0 {
			t.Errorf("released %v, tried %v", p.released, p.tried)
		}
	})
}
