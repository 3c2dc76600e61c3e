//go:build servers

package quorum_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// settled waits until no change of the controllers is under way, restarts those that were moved and were not told so, and
// returns the members.
func (s *story) settled(ctx context.Context) (members []*node) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		known, err := s.ledgers(ctx)
		level := err == nil && known.Change == nil
		if err == nil {
			members = nil
			for _, m := range known.Members {
				n := s.among([]peer{{id: m.ID}})[0]
				members = append(members, n)
				door, _, _ := strings.Cut(m.Raft, ":")
				if door == n.door {
					continue
				}
				level = false
				if err := s.settleAt(ctx, n, door); err != nil {
					s.record.violation("%s moves: %v", n.id, err)
					return nil
				}
			}
		}
		if level {
			return members
		}
		if ctx.Err() != nil {
			s.record.violation("the controllers have not settled %s after the faults: %+v, %v", bound, known, err)
			return nil
		}
		rest(ctx, pause)
	}
}

// get asks for something of a controller, and returns the status.
func get(ctx context.Context, url string, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := call.Do(ctx, call.Request{Method: http.MethodGet, URL: url})
	if err != nil {
		return 0, err
	}
	return reply.Status, json.Unmarshal(reply.Body, into)
}

// listed wants each member to list the same members, as what they are.
func (s *story) listed(ctx context.Context, members []*node) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	want := map[string]string{}
	for _, n := range members {
		want[n.id] = wire.Voter + " at " + n.peer().raft() + " " + n.peer().http()
	}
	for _, n := range members {
		for {
			var all wire.Controllers
			status, err := get(ctx, n.url()+wire.PathControllers, &all)
			got := map[string]string{}
			for _, c := range all.Controllers {
				got[c.ID] = c.Role + " at " + c.Raft + " " + c.API
			}
			if err == nil && status == http.StatusOK && all.Change == nil && all.Voters == len(members) && maps.Equal(got, want) {
				break
			}
			if ctx.Err() != nil {
				s.record.violation("%s lists %+v (%d, %v), and the controllers are %v", n.id, all, status, err, want)
				return
			}
			rest(ctx, pause)
		}
	}
}

// othersAreOut starts those once more that are no members, and wants them to know it, and not to be ready.
func (s *story) othersAreOut(ctx context.Context, members []*node) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	// Who was away while all others moved finds nobody who tells it.
	inside, findable := map[*node]bool{}, false
	for _, n := range members {
		inside[n], findable = true, findable || n.moves == 0
	}
	for _, n := range s.nodes {
		if inside[n] {
			continue
		}
		if err := n.restart(ctx, func() error { return nil }); err != nil {
			s.record.violation("%s starts again: %v", n.id, err)
			continue
		}
		for {
			var health wire.Health
			status, err := get(ctx, n.url()+wire.PathReady, &health)
			if err == nil && status == http.StatusServiceUnavailable && !health.OK && (isOut(health.Reason) || !findable || s.silent(ctx, n)) {
				s.record.count("controllers outside at the end", 1)
				break
			}
			if ctx.Err() != nil {
				s.record.violation("%s is no controller, and says of itself %d %+v, %v", n.id, status, health, err)
				break
			}
			rest(ctx, pause)
		}
	}
}

// silent is whether a controller takes itself for one without a vote: it calls nobody, so that nobody tells it that its
// adding was taken back while it was away.
func (s *story) silent(ctx context.Context, n *node) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	voice, err := adminapi.NewPeers(secret).Voice(ctx, n.url())
	return err == nil && slices.ContainsFunc(voice.Members, func(m wire.Member) bool { return m.ID == n.id && !m.Voter })
}

// isOut is whether a controller says that it has no part in what the others decide.
func isOut(reason string) bool {
	for _, said := range []string{"was removed", "it waits to be added", "is none of the controllers"} {
		if strings.Contains(reason, said) {
			return true
		}
	}
	return false
}

// counted wants the members to be those that the changes in the record have made.
func (s *story) counted(members []*node) {
	founders, got := map[string]string{}, map[string]string{}
	for _, p := range s.founders {
		founders[p.id] = p.raft()
	}
	for _, n := range members {
		got[n.id] = n.peer().raft()
	}
	h := s.record.history()
	want, wrong := council(founders, s.record.asked(), h.entries, s.clocks)
	for _, sentence := range wrong {
		s.record.violation("%s", sentence)
	}
	if len(members) > 0 && !maps.Equal(got, want) {
		s.record.violation("the controllers are %v, and by their changes %v", got, want)
	}
	for _, e := range h.entries {
		if e.step != "" {
			s.record.count("a change "+string(e.step), 1)
		}
	}
}
