package lease

import (
	"slices"
	"time"

	"switchyard/router/routes"
)

// Book is what a sidecar remembers over its own restart.
type Book struct {
	// Boot is the id of the boot whose instants these are.
	Boot string `json:"boot"`
	// Held is set once a lease was held: from then on the server is fenced
	// whenever it holds none.
	Held bool `json:"held"`
	// Until is the end of the lease as it was last seen to be held.
	Until Instant `json:"until"`
	// For is how long a peer's answer counts: the shortest grant of those by
	// which the lease was last held, since a promoter may wait no longer.
	For     time.Duration `json:"for"`
	Voices  []Voice       `json:"voices,omitempty"`
	Answers []Answer      `json:"answers,omitempty"`
	// Fence is set from the decision to fence until the controllers grant again.
	Fence *Stand `json:"fence,omitempty"`
}

// Voice is the newest word of one controller: a grant, or, with For zero, a
// refusal.
type Voice struct {
	Controller string        `json:"controller"`
	Sent       Instant       `json:"sent"`
	For        time.Duration `json:"for"`
	Epoch      routes.Epoch  `json:"epoch"`
	Deposed    bool          `json:"deposed,omitempty"`
}

// Stand is a fence that stands.
type Stand struct {
	// At is when it was decided: what was asked for before does not end it.
	At Instant `json:"at"`
	// By is when it has to be in force.
	By  Instant `json:"by"`
	Why string  `json:"why"`
	// Settled is set while the server takes no writes, as far as is known: By is
	// over, and counted anew if it is found otherwise.
	Settled bool `json:"settled,omitempty"`
	// ReadOnly is set while that is so because it was read back as read-only:
	// then it stays so even if the server no longer answers.
	ReadOnly bool `json:"read_only,omitempty"`
}

func (b Book) clone() Book {
	b.Voices, b.Answers = slices.Clone(b.Voices), slices.Clone(b.Answers)
	if b.Fence != nil {
		stand := *b.Fence
		b.Fence = &stand
	}
	return b
}

// ends returns when a grant asked for at sent ends at the latest, by the
// slowest of clocks.
func ends(sent Instant, d time.Duration) Instant { return sent.Add(d - d/drift) }

// last returns the instant until which at least n of these ends lie ahead, 0
// if there are not so many.
func last(n int, all []Instant) Instant {
	if n <= 0 || len(all) < n {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)-n]
}

func majority(of int) int { return of/2 + 1 }

// granted returns until when a majority of the controllers grants, by answers
// to what was sent after since.
func (l *Lease) granted(since Instant) Instant {
	var all []Instant
	for _, v := range l.book.Voices {
		if v.For > 0 && v.Sent >= since {
			all = append(all, ends(v.Sent, v.For))
		}
	}
	return last(majority(len(l.cfg.Controllers)), all)
}

// followed returns until when a majority of the cluster's database sidecars
// follow. A controller that knows of a successor, in a newer epoch than any in
// which a lease was granted, ends that: peers may not have heard of it yet.
func (l *Lease) followed() Instant {
	if len(l.cfg.Peers) == 0 || l.deposed() {
		return 0
	}
	var all []Instant
	for _, a := range l.book.Answers {
		if a.Follows {
			all = append(all, ends(a.Sent, l.book.For))
		}
	}
	return last(majority(len(l.cfg.Peers)+1)-1, all) // this one is itself one of them
}

// shortest returns the shortest of the grants that are known.
func (l *Lease) shortest() time.Duration {
	var shortest time.Duration
	for _, v := range l.book.Voices {
		if v.For > 0 && (shortest == 0 || v.For < shortest) {
			shortest = v.For
		}
	}
	return shortest
}

// deposed tells whether a controller said that there is a successor, in an
// epoch above all grants'.
func (l *Lease) deposed() bool {
	var grants, refusals routes.Epoch
	for _, v := range l.book.Voices {
		switch {
		case v.For > 0 && v.Epoch.Compare(grants) > 0:
			grants = v.Epoch
		case v.Deposed && v.Epoch.Compare(refusals) > 0:
			refusals = v.Epoch
		}
	}
	return refusals.Compare(grants) > 0
}
