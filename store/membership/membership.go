// Package membership says what the leader does next to carry a change of the
// controllers on, by what the ledger wants and what raft counts. It keeps nothing:
// whoever leads next goes on from what is there. It is pure.
package membership

import (
	"fmt"
	"slices"

	"switchyard/store/ledger"
)

// Act is one thing to do.
type Act string

// What there is to do.
const (
	Nothing Act = "nothing"
	// Wait for what Why says.
	Wait Act = "wait"
	// TakeIn has raft send its log to the controller, which has no vote.
	TakeIn Act = "take in"
	// Widen has the ledger count the vote of the one that is added.
	Widen Act = "widen"
	// Vote has raft count it.
	Vote Act = "vote"
	// HandOver gives leadership to another one.
	HandOver Act = "hand over"
	// Drop has raft forget the controller.
	Drop Act = "drop"
	// Undo turns the change back, because of Why.
	Undo Act = "undo"
	// Close ends the change.
	Close Act = "close"
)

// Server is a controller as raft counts it.
type Server struct {
	ID, Address string
	Voter       bool
}

// Sight is what the leader sees.
type Sight struct {
	Self  string
	Known ledger.Controllers
	// Counted are those of raft's newest configuration.
	Counted []Server
	// Behind is why the one that is added cannot vote yet; empty once it has caught up.
	Behind string
	// Settled is set once the longest lease and fence have passed since raft forgot
	// the one that is removed.
	Settled bool
	// Late is set once the change is to be given up, where it can be.
	Late bool
}

// Step is what to do, and why.
type Step struct {
	Act Act
	Why string
}

// Next says what to do. Each act is done at most once: done already, it shows in
// what is seen.
func Next(s Sight) Step {
	if s.Known.Change == nil {
		return Step{Act: Nothing}
	}
	open := *s.Known.Change
	member, known := s.Known.Find(open.ID)
	at := slices.IndexFunc(s.Counted, func(c Server) bool { return c.ID == open.ID })
	switch {
	case !known:
		return Step{Nothing, fmt.Sprintf("%s is none of the controllers", open.ID)}
	case open.Kind == ledger.AddController:
		return add(s, open, member, at)
	case open.Kind == ledger.RemoveController:
		return remove(s, open, member, at)
	case open.Kind == ledger.MoveController && at >= 0 && s.Counted[at].Address != member.Raft:
		return Step{Act: counts(member.Voter)}
	}
	return Step{Act: Close}
}

// counts is what has raft count a controller, with or without a vote.
func counts(voter bool) Act {
	if voter {
		return Vote
	}
	return TakeIn
}

// add takes the controller in, waits until it has caught up, and gives it its vote:
// the ledger's before raft's, so that no majority of raft's decides what the ledger
// counts too few for.
func add(s Sight, open ledger.ControllerChange, member ledger.Controller, at int) Step {
	switch {
	case open.Undoing != "" && open.New && at >= 0:
		return Step{Drop, open.Undoing}
	case open.Undoing != "":
		return Step{Close, open.Undoing}
	case s.Late && !member.Voter:
		return Step{Undo, "it was given up: " + late(s, at)}
	case at < 0:
		return Step{Act: counts(member.Voter)}
	case member.Voter && !s.Counted[at].Voter:
		return Step{Act: Vote}
	case member.Voter == open.Voter:
		return Step{Act: Close}
	case s.Behind != "":
		return Step{Wait, s.Behind}
	}
	return Step{Act: Widen}
}

func late(s Sight, at int) string {
	if at >= 0 && s.Behind != "" {
		return s.Behind
	}
	return "its time was over"
}

// remove has raft forget the controller first. The ledger counts it until no lease
// is left that it may have granted: the other way round, a majority without it
// could be formed while one with it still holds.
func remove(s Sight, open ledger.ControllerChange, member ledger.Controller, at int) Step {
	switch {
	case open.Undoing != "" && at < 0:
		// Raft forgot it before that was taken back, and is to count as the ledger does.
		return Step{counts(member.Voter), open.Undoing}
	case open.Undoing != "":
		return Step{Close, open.Undoing}
	case at >= 0 && s.Late:
		return Step{Undo, "it was given up: raft has not forgotten it in time"}
	case at >= 0 && open.ID == s.Self:
		return Step{HandOver, "who is removed does not lead"}
	case at >= 0:
		return Step{Act: Drop}
	case !s.Settled:
		return Step{Wait, "what it granted may be in force"}
	}
	return Step{Act: Close}
}
