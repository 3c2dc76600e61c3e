package leases

import (
	"context"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/sidecar/protocol"
)

// Status is what this controller knows of one server's sidecar.
type Status struct {
	Sidecar string
	// At is when it last renewed here, and Holding and State what it said.
	At      time.Time
	Holding protocol.Holding
	State   protocol.State
	// Tied is set where its lease is a promise that can be counted on.
	Tied bool
	// Until is when the last grant of this controller ends; zero for none.
	Until time.Time
	Fence time.Duration
	// Exit says how the server's process last ended, and ExitAt when.
	Exit   string
	ExitAt time.Time
	// miscounted is why it does not keep its lease by these controllers.
	miscounted string
	// otherwise is set also where that does no harm yet.
	otherwise string
}

// Status returns what is known of a server's sidecar; false where none was heard
// since this controller started.
func (r *Register) Status(server topology.Key) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holders[server]
	if h == nil {
		return Status{}, false
	}
	s := Status{
		Sidecar: h.newest.Sidecar, At: h.at, Holding: h.newest.Holding, State: h.newest.State, Tied: h.newest.Tied,
		Until: h.until, Fence: h.fence, miscounted: miscounted(h.newest.Sidecar, h.newest.Controllers, r.cfg.councils(r.ledger.State())),
		otherwise: otherwise(h.newest.Sidecar, h.newest.Controllers, r.cfg.councils(r.ledger.State())),
	}
	if h.exit != nil {
		s.Exit, s.ExitAt = sayExit(*h.exit), h.exitAt
	}
	return s, true
}

// Configured reports whether a server is to have a database sidecar.
func (r *Register) Configured(server topology.Key) bool { return r.cfg.Sidecars[server] != "" }

// Shown is what people are told of a server's sidecar; nil where none is
// configured.
func (r *Register) Shown(server topology.Key) *wire.DatabaseSidecar {
	if !r.Configured(server) {
		return nil
	}
	s, ok := r.Status(server)
	if !ok {
		return &wire.DatabaseSidecar{NoPromise: "it was not heard since this controller started"}
	}
	silent := r.cfg.Now().Sub(s.At)
	heard := silent.Milliseconds()
	out := &wire.DatabaseSidecar{
		Name: s.Sidecar, HeardMS: &heard, Holding: string(s.Holding), GrantedUntil: s.Until, Tied: s.Tied,
		LastExit: s.Exit, LastExitAt: s.ExitAt,
	}
	switch {
	case s.miscounted != "":
		out.NoPromise = s.miscounted
	case !s.Tied:
		out.NoPromise = "its server may outlive it"
	case silent > r.cfg.Lease+r.cfg.Fence:
		out.NoPromise = fmt.Sprintf("it was not heard for %s", silent.Round(time.Second))
	case s.Holding == protocol.Unleased:
		out.NoPromise = "it holds no lease"
	}
	return out
}

// Miscounts are the sidecars that count other controllers than there are: their
// files are to be brought in step.
func (r *Register) Miscounts() []string {
	var out []string
	for server := range r.cfg.Sidecars {
		if s, ok := r.Status(server); ok && s.otherwise != "" && r.cfg.Now().Sub(s.At) <= r.cfg.Lease+r.cfg.Fence {
			out = append(out, s.otherwise)
		}
	}
	slices.Sort(out)
	return out
}

// Await returns once a server may be made writable without being fenced again by
// its own sidecar: that holds the lease, never held one, or is silent. One that
// stands by its fence for longer than patience is an error.
func (p *Promoter) Await(ctx context.Context, server topology.Key, patience time.Duration) (string, error) {
	if !p.own.Configured(server) {
		return "", nil
	}
	begun := p.cfg.Now()
	for {
		s, ok := p.own.Status(server)
		switch {
		case ok && s.Holding == protocol.Held && s.At.After(begun): // what it said before may be over
			return fmt.Sprintf("sidecar %s holds the lease", s.Sidecar), nil
		case ok && s.Holding == protocol.Unleased:
			return fmt.Sprintf("sidecar %s never held a lease, so that nothing stands against it", s.Sidecar), nil
		case !ok || p.cfg.Now().Sub(s.At) > p.cfg.Lease+p.cfg.Fence:
			return "its database sidecar is silent: it has no lease, and would be fenced for a moment when that comes back", nil
		case p.cfg.Now().Sub(begun) >= patience:
			return "", fmt.Errorf("sidecar %s of %s stands by its fence, and would fence it again: look whether it hears a majority of the controllers",
				s.Sidecar, server)
		}
		if err := p.sleep(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// Ending reports whether the sidecar of a server lives and has not said yet how
// the process ended that is gone since then.
func (p *Promoter) Ending(server topology.Key, since time.Time) bool {
	s, ok := p.own.Status(server)
	// What it noticed may have been noticed here later.
	return ok && p.cfg.Now().Sub(s.At) < p.cfg.Lease && s.ExitAt.Before(since.Add(-time.Second))
}
