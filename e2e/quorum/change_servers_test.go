//go:build servers

package quorum_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

// open makes a controller's doors at an address.
func (s *story) open(n *node, at string) error {
	var failures []error
	for _, port := range []int{httpPort, raftPort} {
		failures = append(failures, s.network.open(n.id, fmt.Sprintf("%s:%d", at, port), fmt.Sprintf("%s:%d", n.ip, port)))
	}
	return errors.Join(failures...)
}

// among are the nodes of some peers.
func (s *story) among(peers []peer) (out []*node) {
	for _, n := range s.nodes {
		if slices.ContainsFunc(peers, func(p peer) bool { return p.id == n.id }) {
			out = append(out, n)
		}
	}
	return out
}

// ledgers are the controllers by the leader's ledger, as of now: before the first change those of the files.
func (s *story) ledgers(ctx context.Context) (ledger.Controllers, error) {
	failure := errors.New("nobody leads")
	for _, via := range s.nodes {
		head, state, err := s.backup(ctx, via, false)
		switch {
		case err != nil:
			failure = err
		case head.Leader && state.Controllers.Number > 0:
			return state.Controllers, nil
		case head.Leader:
			var all ledger.Controllers
			for _, p := range s.founders {
				all.Members = append(all.Members, ledger.Controller{ID: p.id, Raft: p.raft(), API: p.http(), Voter: true})
			}
			return all, nil
		}
	}
	return ledger.Controllers{}, failure
}

// change carries an event out as an operator does: who looks at what there is, asks whoever answers, and again where it is
// refused, until the event is over.
func (s *story) change(ctx context.Context, e event) error {
	s.operator.Lock()
	defer s.operator.Unlock()
	for i := 0; ; i++ {
		if now := time.Since(s.befell); now > e.at+e.lasts || ctx.Err() != nil {
			s.record.count("changes never taken: "+e.kind, 1)
			return nil
		}
		rest(ctx, pace)
		known, err := s.ledgers(ctx)
		if err != nil {
			continue
		}
		kind, n := s.target(e, known)
		if n == nil {
			s.record.note("not done: %s: there is nobody of whom: %+v", e, known.Members)
			return nil
		}
		taken, err := s.request(ctx, kind, n, known, s.among([]peer{{id: known.Members[i%len(known.Members)].ID}})[0])
		if taken || err != nil {
			return err
		}
		rest(ctx, pause)
	}
}

// target is whom a change is of: who is named, or, where that makes no sense, the first of whom it does. Where nobody is
// left to be added, one is removed, and the other way round.
func (s *story) target(e event, known ledger.Controllers) (kind string, n *node) {
	least := 3
	if s.seed%3 == 0 {
		least = 2 // and then none may be lost
	}
	fits := func(n *node) bool {
		_, inside := known.Find(n.id)
		switch kind {
		case add:
			_, former := known.Removed(n.id)
			return !inside && !(former && n.doubtful)
		case remove:
			return inside && len(known.Voters()) > least
		}
		return inside && n != s.leader.Load() // who leads is not moved
	}
	named := s.leader.Load()
	if e.who != leaderRole {
		named = s.among([]peer{{id: e.who}})[0]
	}
	if e.kind == remove && known.Change != nil && known.Change.Kind == ledger.AddController {
		return remove, s.among([]peer{{id: known.Change.ID}})[0] // that takes it back
	}
	for _, kind = range []string{e.kind, map[string]string{add: remove, remove: add, move: move}[e.kind]} {
		for _, one := range append([]*node{named}, s.nodes...) {
			if one != nil && fits(one) {
				return kind, one
			}
		}
	}
	return e.kind, nil
}

// request asks for one change, and tells whether that may be the end of it.
func (s *story) request(ctx context.Context, kind string, n *node, known ledger.Controllers, via *node) (taken bool, err error) {
	if known.Change != nil && (kind != remove || known.Change.ID != n.id || known.Change.Kind != ledger.AddController) {
		return false, nil
	}
	s.words++
	word := fmt.Sprintf("%s%s-%s-%d", wordPrefix, kind, n.id, s.words)
	r := wire.ControllersRequest{Change: kind, ID: n.id, Asker: wire.Asker{By: word, Reason: "to see it done"}}
	to := n.peer()
	switch kind {
	case add:
		if err := s.prepare(ctx, n, known); err != nil {
			return true, err
		}
	case move:
		if to.door, err = s.stack.IP(httpPort, raftPort); err == nil {
			err = s.open(n, to.door)
		}
		if err != nil {
			return true, err
		}
	}
	if kind != remove {
		r.Raft, r.API = to.raft(), to.http()
	}
	s.record.asks(word, change{kind, n.id, r.Raft})
	body, err := json.Marshal(r)
	if err != nil {
		return true, err
	}
	c := command{word: word, via: via.id, sent: time.Now()}
	c.outcome, c.sentence = ask(context.WithoutCancel(ctx), via.url()+wire.PathChangeControllers, body)
	c.told = time.Now()
	s.record.told(c)
	s.record.note("%s: %d %s", word, c.outcome, c.sentence)
	switch {
	case c.outcome == done:
		s.record.count("changes taken: "+kind, 1)
		if kind == move {
			return true, s.settleAt(ctx, n, to.door)
		}
		return true, nil
	case c.outcome == unknown && kind == add:
		n.doubtful = true
	case c.outcome == refused && kind == move:
		return false, s.leave(to.door)
	}
	return false, nil
}

// leave takes the doors at an address away.
func (s *story) leave(at string) error {
	return errors.Join(s.network.shut(fmt.Sprintf("%s:%d", at, httpPort)), s.network.shut(fmt.Sprintf("%s:%d", at, raftPort)))
}

// settleAt restarts a controller with other addresses, and nobody answers at its old ones.
func (s *story) settleAt(ctx context.Context, n *node, door string) error {
	old := n.door
	err := n.restart(ctx, func() error { n.door = door; n.moves++; return nil })
	return errors.Join(err, s.leave(old))
}

// prepare makes one that was removed ready to be added again, as it is told: with an empty data directory, and to join.
func (s *story) prepare(ctx context.Context, n *node, known ledger.Controllers) error {
	former, removed := known.Removed(n.id)
	if !removed || former.By == n.emptied {
		return nil
	}
	s.record.count("controllers emptied", 1)
	return n.restart(ctx, func() error {
		_, state, err := n.onDisk(ctx)
		if err != nil && n.full <= 0 { // with a full disk it may not be readable
			return err
		}
		s.record.see(n.id+" before it was emptied", state.Audit)
		n.emptied, n.join, n.peers = former.By, true, nil
		for _, m := range known.Members {
			n.peers = append(n.peers, s.among([]peer{{id: m.ID}})[0].peer())
		}
		n.peers = append(n.peers, n.peer())
		n.era.Add(1)
		return os.RemoveAll(n.dataDir())
	})
}

// restart kills the process, does something, and starts it with the configuration that there is then.
func (n *node) restart(ctx context.Context, meanwhile func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if err := errors.Join(n.process.Kill(), n.process.Wait(ctx)); err != nil {
		return err
	}
	err := meanwhile()
	err = errors.Join(err, os.WriteFile(filepath.Join(n.process.Dir(), "switchyard.yaml"), []byte(n.config()), 0o600))
	return errors.Join(err, n.settle(ctx))
}
