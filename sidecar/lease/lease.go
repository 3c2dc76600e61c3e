// Package lease says whether a database may take writes: a majority of the
// controllers granted it, or failing that a majority of its cluster's database
// sidecars follow it. Neither: it is fenced before what was granted ends, and
// killed if the fence does not take. It is pure: the caller brings the clock,
// what was heard, and what the server is.
package lease

import (
	"fmt"
	"slices"
	"time"

	"switchyard/router/routes"
)

// Instant is a time since this host booted, on a clock that runs on while the
// host is suspended (Linux: CLOCK_BOOTTIME). Instants of two hosts, or of two
// boots, are not compared: what is granted is a duration, and it is counted
// here from the moment at which it was asked for.
type Instant time.Duration

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Never is the deadline of what has none.
const Never = Instant(1<<63 - 1)

// drift is the part of a duration by which the clocks of two hosts may differ
// over it: the kernel slews a clock by at most one in 2000, and there are two.
// Doubled, since a quartz has its own.
const drift = 500

// Config is what a sidecar knows before it hears anybody.
type Config struct {
	// Controllers are all controllers, by name; a majority is of these.
	Controllers []string
	// Peers are the other database sidecars of the cluster, by name. A majority
	// is of these and this one. Without any, only controllers keep the lease.
	Peers []string
	// Fence is how long read-only may take to be in force, and Kill how long a
	// killed process may take to be gone. Both lie before the lease's end.
	Fence, Kill time.Duration
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	if len(c.Controllers) == 0 {
		return fmt.Errorf("controllers: none is named, so that nobody could ever grant a lease: name all of them")
	}
	if err := names("controllers", c.Controllers); err != nil {
		return err
	}
	if err := names("peers", c.Peers); err != nil {
		return err
	}
	if c.Fence <= 0 || c.Kill <= 0 {
		return fmt.Errorf("fence %s, kill %s: both take time: want more than 0", c.Fence, c.Kill)
	}
	return nil
}

func names(field string, list []string) error {
	seen := map[string]bool{}
	for _, name := range list {
		if name == "" || seen[name] {
			return fmt.Errorf("%s: %q is empty or named twice, which would make a majority of fewer: name each once", field, name)
		}
		seen[name] = true
	}
	return nil
}

// Longest is the longest fence: what a promoter waits beyond the lease.
func (c Config) Longest() time.Duration { return c.Fence + c.Kill }

// Shortest is the shortest lease of any use: a shorter one would end before a
// fence that begins with it.
func (c Config) Shortest() time.Duration {
	return (c.Longest() + time.Millisecond) * drift / (drift - 1)
}

// Server is what the sidecar last saw of its mysqld.
type Server int

// The states of a server.
const (
	// Silent has a process that accepts connections, or did, and does not say
	// what it takes: it hangs, or nobody has looked. It may be writable.
	Silent Server = iota
	// Writable takes writes, or still has clients from when it did.
	Writable
	// ReadOnly was read back, after the clients from before were cut.
	ReadOnly
	// Starting has a process that has not accepted a connection yet.
	Starting
	// Gone has no process.
	Gone
)

// Action is what is to be done.
type Action int

// The actions.
const (
	// Unleased: no lease was ever granted, so that there is no promise to keep
	// and the server is left alone. The sidecar says so.
	Unleased Action = iota
	// Hold: the lease is held, and the server may be writable. A fence that
	// stood is over; whether it is lifted is the controllers' affair.
	Hold
	// Fence: clients are cut and the server made read-only, by Decision.By.
	Fence
	// Kill: the process is killed, now.
	Kill
	// Fenced: nothing is to be done, and it stays so.
	Fenced
)

// String returns the word.
func (a Action) String() string {
	words := []string{"unleased", "hold", "fence", "kill", "fenced"}
	if a < 0 || int(a) >= len(words) {
		return fmt.Sprintf("action %d", int(a))
	}
	return words[a]
}

// Decision is what is to be done, and when to ask again.
type Decision struct {
	Action Action
	// By is when a fence must be in force, or else the process is killed.
	By Instant
	// Until is when the lease ends that is held; zero where none is.
	Until Instant
	// Next is when to ask again at the latest, even if nothing happens.
	Next   Instant
	Reason string
}

// Grant is a controller's word that it takes no part in promoting another
// server for Duration.
type Grant struct {
	Controller string
	// Sent is when the renewal that it answers was sent.
	Sent     Instant
	Duration time.Duration
	Epoch    routes.Epoch
}

// Refusal is a controller's word that it grants nothing. What it granted
// before is void.
type Refusal struct {
	Controller string
	Sent       Instant
	// Epoch is the newest that the controller knows.
	Epoch routes.Epoch
	// Deposed is set where another server is the master in that epoch, or is
	// about to be.
	Deposed bool
}

// Answer is what another database sidecar said to "do you follow me?".
type Answer struct {
	Peer string
	// Sent is when the question was sent.
	Sent    Instant
	Follows bool
}

// Lease is what a sidecar holds. It is for one goroutine.
type Lease struct {
	cfg  Config
	book Book
}

// New goes on from what an earlier run of the sidecar left in book; boot is
// this boot's id. After a reboot nothing that was granted is left, and a
// server that once held a lease waits, fenced, for the controllers' word.
func New(cfg Config, book Book, boot string) (*Lease, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	book = book.clone()
	if book.Boot != boot {
		book.Boot, book.Until, book.Voices, book.Answers = boot, 0, nil, nil
		if book.Held && book.Fence == nil {
			book.Fence = &Stand{Why: "the host was restarted"}
		}
		if book.Fence != nil {
			book.Fence = &Stand{Why: book.Fence.Why, Settled: true}
		}
	}
	return &Lease{cfg: cfg, book: book}, nil
}

// Book returns what to remember. It is to be on disk before a decision to hold
// is carried out.
func (l *Lease) Book() Book { return l.book.clone() }

// Granted notes a grant.
func (l *Lease) Granted(g Grant) error {
	if g.Duration < l.cfg.Shortest() {
		return fmt.Errorf("the controller %s granted %s: a fence may take %s, so that less than %s is of no use; "+
			"lengthen the controllers' lease", g.Controller, g.Duration, l.cfg.Longest(), l.cfg.Shortest())
	}
	if g.Duration > time.Hour {
		return fmt.Errorf("the controller %s granted %s: no failover would wait for that; want at most an hour", g.Controller, g.Duration)
	}
	return l.hear(Voice{Controller: g.Controller, Sent: g.Sent, For: g.Duration, Epoch: g.Epoch})
}

// Refused notes a refusal.
func (l *Lease) Refused(r Refusal) error {
	return l.hear(Voice{Controller: r.Controller, Sent: r.Sent, Epoch: r.Epoch, Deposed: r.Deposed})
}

// hear keeps each controller's newest word, by when it was asked: answers can
// overtake each other.
func (l *Lease) hear(v Voice) error {
	if !slices.Contains(l.cfg.Controllers, v.Controller) {
		return fmt.Errorf("%q is not one of the controllers %v: add it to the sidecar's configuration", v.Controller, l.cfg.Controllers)
	}
	i := slices.IndexFunc(l.book.Voices, func(o Voice) bool { return o.Controller == v.Controller })
	switch {
	case i < 0:
		l.book.Voices = append(l.book.Voices, v)
	case v.Sent > l.book.Voices[i].Sent:
		l.book.Voices[i] = v
	}
	return nil
}

// Answered notes a peer's answer.
func (l *Lease) Answered(a Answer) error {
	if !slices.Contains(l.cfg.Peers, a.Peer) {
		return fmt.Errorf("%q is not one of the peers %v: add it to the sidecar's configuration", a.Peer, l.cfg.Peers)
	}
	i := slices.IndexFunc(l.book.Answers, func(o Answer) bool { return o.Peer == a.Peer })
	switch {
	case i < 0:
		l.book.Answers = append(l.book.Answers, a)
	case a.Sent > l.book.Answers[i].Sent:
		l.book.Answers[i] = a
	}
	return nil
}
