package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
	"switchyard/store/membership"
)

const (
	// tendPause is between two looks at an open change, and tendLimit bounds one.
	tendPause = 100 * time.Millisecond
	tendLimit = 5 * time.Second
	// nearly is how many entries one that is added may lack to be given its vote:
	// under load it always lacks some.
	nearly = 256
)

// Controllers are the controllers as far as this one knows: the ledger's, or
// under number 0 those of its configuration file.
func (s *Store) Controllers() ledger.Controllers {
	if known := s.State().Controllers; known.Number != 0 {
		return known
	}
	return s.cfg.founders()
}

// Outside says why this controller has no part in what the others decide: it was
// removed, or waits to be added. It is empty for one that has.
func (s *Store) Outside() string {
	known := s.State().Controllers
	servers := s.stream.servers()
	member, is := known.Find(s.cfg.ID)
	if told := s.expelled(); told != "" {
		return told
	}
	switch {
	case len(servers) == 0:
		self, _ := s.cfg.peer(s.cfg.ID)
		return fmt.Sprintf("it waits to be added to the others: switchyard controllers add %s --raft %s --http %s --dc %s", s.cfg.ID,
			s.cfg.Advertise, self.API, self.DataCenter)
	case known.Number != 0 && !is:
		return outsider(s.cfg.ID, known)
	case is && known.Change != nil && known.Change.ID == member.ID && known.Change.Kind == ledger.AddController && known.Change.Undoing == "":
		return ""
	}
	for _, server := range servers {
		if string(server.ID) == s.cfg.ID {
			return ""
		}
	}
	return fmt.Sprintf("controller %q was removed: stop it; to have it back, empty its data directory, start it with join: true, "+
		"and add it by `switchyard controllers add`", s.cfg.ID)
}

// expelled is what another controller has said of this one's removal, unless this one
// has come to know a later set since; empty where nobody did.
func (s *Store) expelled() string {
	if told := s.stream.expelled.Load(); told != nil && s.State().Controllers.Number <= told.set {
		return told.sentence
	}
	return ""
}

// ChangeControllers begins a change; whoever leads carries it on. The set that it
// changes, and the founders, are filled in here.
func (s *Store) ChangeControllers(ctx context.Context, change ledger.BeginControllerChange) error {
	if err := s.VerifyLeader(ctx); err != nil {
		return err
	}
	known := s.Controllers()
	change.Expect = known.Number
	if known.Number == 0 {
		change.Founders = known.Members
	}
	return s.Propose(ctx, change)
}

// UndoControllers turns the open change back, where that is still possible.
func (s *Store) UndoControllers(ctx context.Context, why string) error {
	if err := s.VerifyLeader(ctx); err != nil {
		return err
	}
	return s.advance(ctx, s.Controllers(), ledger.UndoControllers, why)
}

func (s *Store) advance(ctx context.Context, known ledger.Controllers, step ledger.ControllersStep, note string) error {
	return s.Propose(ctx, ledger.AdvanceControllers{Expect: known.Number, Step: step, Note: note, Leader: s.cfg.ID, At: s.cfg.Now()})
}

// tending is what the leader remembers of the open change: since when raft does
// not count the one that is removed. The next leader waits anew.
type tending struct {
	set    uint64
	absent time.Time
	said   string
}

// tendControllers carries changes on while this controller leads, until the store
// is closed.
func (s *Store) tendControllers() {
	tick := time.NewTicker(tendPause)
	defer tick.Stop()
	var t tending
	outside := ""
	for {
		select {
		case <-tick.C:
		case <-s.stop.failed:
			return
		case <-s.done:
			return
		}
		if known := s.State().Controllers; known.Number != 0 {
			s.stream.evict(known)
		}
		if now := s.Outside(); now != outside {
			outside = now
			if now != "" {
				s.logger.Warn("this controller has no part in what the others decide", "why", now)
			}
		}
		if !s.IsLeader() || s.State().Controllers.Change == nil {
			t = tending{}
			continue
		}
		ctx, cancel := context.WithTimeout(s.life, tendLimit)
		err := s.tend(ctx, &t)
		cancel()
		if err != nil && !errors.Is(err, ErrNotLeader) && t.said != err.Error() {
			t.said = err.Error()
			s.logger.Warn("a change of the controllers does not go on yet", "error", err)
		}
	}
}

// tend makes the next step of the open change.
func (s *Store) tend(ctx context.Context, t *tending) error {
	if err := s.VerifyLeader(ctx); err != nil {
		return err
	}
	known := s.State().Controllers
	if known.Change == nil {
		return nil
	}
	if known.Number != t.set {
		*t = tending{set: known.Number}
	}
	sight := membership.Sight{Self: s.cfg.ID, Known: known, Late: s.cfg.Now().After(known.Change.Until)}
	there := false
	for _, server := range s.stream.servers() {
		sight.Counted = append(sight.Counted, membership.Server{
			ID: string(server.ID), Address: string(server.Address), Voter: server.Suffrage == raft.Voter,
		})
		there = there || string(server.ID) == known.Change.ID
	}
	if known.Change.Kind == ledger.RemoveController && !there {
		if err := s.settle(ctx, t); err != nil {
			return err
		}
		sight.Settled = time.Since(t.absent) >= s.cfg.Settle
	}
	if member, _ := known.Find(known.Change.ID); known.Change.Kind == ledger.AddController && there && !member.Voter {
		sight.Behind = s.behind(ctx, member)
	}
	return s.act(ctx, known, membership.Next(sight), t)
}

// settle notes since when raft has agreed on counting one controller less.
func (s *Store) settle(ctx context.Context, t *tending) error {
	if !t.absent.IsZero() {
		return nil
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	t.absent = time.Now()
	return nil
}

// behind is why a controller has not caught up.
func (s *Store) behind(ctx context.Context, one ledger.Controller) string {
	if s.cfg.Progress == nil {
		return "it cannot be asked how far it is"
	}
	want := s.Stats().AppliedIndex
	applied, err := s.cfg.Progress(ctx, one)
	switch {
	case err != nil:
		return fmt.Sprintf("%s does not answer at %s: %v", one.ID, one.API, err)
	case applied == 0 || applied+nearly < want:
		return fmt.Sprintf("%s has applied %d entries of %d", one.ID, applied, want)
	}
	return ""
}

// act does what is next. Raft's own calls end with its leadership.
func (s *Store) act(ctx context.Context, known ledger.Controllers, step membership.Step, t *tending) error {
	member, _ := known.Find(known.Change.ID)
	id, address := raft.ServerID(member.ID), raft.ServerAddress(member.Raft)
	count := func(what string, call func() raft.IndexFuture) error {
		return s.ask(ctx, what+" "+member.ID, func() error { return call().Error() })
	}
	if step.Act != membership.Wait {
		s.logger.Info("controllers change", "step", string(step.Act), "whom", member.ID, "why", step.Why)
	}
	switch step.Act {
	case membership.Wait:
		if t.said != step.Why {
			t.said = step.Why
			s.logger.Info("a change of the controllers waits", "whom", member.ID, "why", step.Why)
		}
		return nil
	case membership.TakeIn:
		return count("take in", func() raft.IndexFuture { return s.raft.AddNonvoter(id, address, 0, tendLimit) })
	case membership.Vote:
		return count("give a vote to", func() raft.IndexFuture { return s.raft.AddVoter(id, address, 0, tendLimit) })
	case membership.Drop:
		return count("remove", func() raft.IndexFuture { return s.raft.RemoveServer(id, 0, tendLimit) })
	case membership.HandOver:
		return s.giveAway(ctx)
	case membership.Widen:
		return s.advance(ctx, known, ledger.WidenControllers, step.Why)
	case membership.Undo:
		return s.advance(ctx, known, ledger.UndoControllers, step.Why)
	case membership.Close:
		return s.advance(ctx, known, ledger.CloseControllers, step.Why)
	}
	return nil
}
