package agent

import (
	"fmt"
	"slices"

	"switchyard/router/routes"
)

// source is who said a table.
type source int

const (
	// push: a controller called here, which it does only while it is verified to lead.
	push source = iota
	// leader and follower: a controller answered a watch.
	leader
	follower
	// directory: the datacenter's Consul. It names masters only: it can neither say
	// that one was withdrawn, nor who the readers are.
	directory
)

func (s source) String() string {
	return [...]string{"push", "leader", "follower", "directory"}[s]
}

// held is what this sidecar holds of one cluster.
type held struct {
	Table routes.Table `json:"table"`
	// Partial is set of a table that the directory said: its readers are those of
	// the table before.
	Partial bool `json:"partial,omitempty"`
}

func (h held) empty() bool { return h.Table.Epoch.IsZero() }

// verdict is what becomes of a table that was said.
type verdict int

const (
	// adopted: it is the newest, and held from now on.
	adopted verdict = iota
	// same: it is held already.
	same
	// older: what is held is newer.
	older
	// conflicting: what is held has the same epoch and revision, and says something else.
	conflicting
	// unproven: nothing is held yet, and who said it may have missed something newer.
	unproven
)

// judge says what becomes of a table, and what is held then. It never goes back.
//
// Within an epoch the ledger withdraws first and announces once: what follows
// changes the readers only. So a directory, which is told of announcements, is
// never behind a withdrawal of its own epoch; it says the revision of the
// announcement all the same, and counts no further than that.
func (h held) judge(t routes.Table, from source) (held, verdict) {
	if h.empty() {
		// What this sidecar confirmed before it forgot everything is unknown. Only
		// who was verified to lead cannot have missed a withdrawal.
		if from == follower || from == directory {
			return h, unproven
		}
		return held{Table: t}, adopted
	}
	order := t.Epoch.Compare(h.Table.Epoch)
	switch {
	case from == directory:
		return h.judgeDirectory(t, order)
	case t.Newer(h.Table):
		return held{Table: t}, adopted
	case h.Table.Newer(t):
		return h, older
	case !sameWriter(t, h.Table), !h.Partial && !slices.Equal(t.Readers, h.Table.Readers):
		return h, conflicting
	case h.Partial:
		return held{Table: t}, adopted
	case h.Table.Planned && !t.Planned:
		// The time to end by itself is taken back within a revision, never given.
		return held{Table: t}, adopted
	}
	return h, same
}

func (h held) judgeDirectory(t routes.Table, order int) (held, verdict) {
	switch {
	case order < 0:
		return h, older
	case order == 0 && h.Table.Writer != nil && !sameWriter(t, h.Table):
		return h, conflicting
	case order == 0 && h.Table.Writer != nil:
		return h, same
	case order == 0 && t.Revision <= h.Table.Revision:
		return h, older
	}
	// The readers are not said. Those of before go on, without the new master.
	t.Readers = slices.DeleteFunc(slices.Clone(h.Table.Readers), func(r routes.Reader) bool { return r.Server == *t.Writer })
	if len(t.Readers) == 0 {
		t.Readers = nil
	}
	return held{Table: t, Partial: true}, adopted
}

func sameWriter(a, b routes.Table) bool {
	if a.Writer == nil || b.Writer == nil {
		return a.Writer == b.Writer
	}
	return *a.Writer == *b.Writer
}

// place names a table for people.
func place(t routes.Table) string {
	if t.Epoch.IsZero() {
		return "no table"
	}
	return fmt.Sprintf("epoch %s revision %d", t.Epoch, t.Revision)
}

// is reports whether two tables are of the same epoch and revision.
func is(a, b routes.Table) bool {
	return a.Cluster == b.Cluster && a.Epoch == b.Epoch && a.Revision == b.Revision
}
