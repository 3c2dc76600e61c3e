// Package together measures what it costs an application when a master crashes in the same moment as a part of the
// controllers' own world, and how soon a leader that is gone has a successor.
package together

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
)

// Beside is what fails in the same moment as the master.
type Beside string

// What can fail beside the master.
const (
	// Nothing is the plain crash, with which the others are compared.
	Nothing Beside = "nothing"
	// Leader is the controller that leads, killed.
	Leader Beside = "the leader"
	// Datacenter is one without master and leader: a controller, a Consul, a replica and a proxy, which nothing reaches
	// any more.
	Datacenter Beside = "a datacenter"
	// LeadersDatacenter is the same with the leader in it.
	LeadersDatacenter Beside = "the leader's datacenter"
	// Consul is all of Consul, killed.
	Consul Beside = "consul"
)

// All are all of them, the plain crash first.
func All() []Beside { return []Beside{Nothing, Leader, Datacenter, LeadersDatacenter, Consul} }

// The master is in the first datacenter, and the leader is made to be in the second.
const (
	leaderID          = "c2"
	leaderDatacenter  = "dc2"
	anotherDatacenter = "dc3"
)

// Outage is what one crash showed.
type Outage struct {
	// Longest is the longest time without an acknowledged write.
	Longest  time.Duration
	Lost     int
	Recovery wire.Recovery
	// Violations are what must never happen, and did.
	Violations []string
}

// Crash starts a site of three datacenters in the stack, and crashes its master together with something else, under an
// application's writes.
func Crash(ctx context.Context, st *stack.Stack, binary string, beside Beside) (out Outage, err error) {
	s, err := site.Start(ctx, st, Options(binary))
	if err != nil {
		return out, err
	}
	if err := Lead(ctx, s, leaderID); err != nil {
		return out, err
	}
	run, err := trial.Begin(ctx, s)
	if err != nil {
		return out, err
	}
	defer run.Close()
	if err := run.Before(ctx); err != nil {
		return out, err
	}
	if err := fail(ctx, s, beside); err != nil {
		return out, err
	}
	if err := s.DB.Master.Kill(); err != nil {
		return out, err
	}
	if out.Recovery, err = run.Recovered(ctx); err != nil {
		return out, err
	}
	if out.Recovery.Winner.IsZero() {
		return out, fmt.Errorf("recovery %s ended without a new master: %s %s", out.Recovery.ID, out.Recovery.Outcome, out.Recovery.Message)
	}
	winner, err := run.Winner(out.Recovery)
	if err != nil {
		return out, err
	}
	report, err := run.End(ctx, false, winner)
	if err != nil {
		return out, err
	}
	out.Longest, out.Lost, out.Violations = report.Outage, len(report.Lost), report.Verdict.Violations
	return out, nil
}

// Options are those of a site of three datacenters close to each other, with the profile for that.
func Options(binary string) site.Options {
	return site.Options{Flavor: stack.MariaDB, Binary: binary, Datacenters: &site.Datacenters{}, Extra: "raft: {profile: lan}\n"}
}

// Lead has a controller lead, and waits until all of them say that it does.
func Lead(ctx context.Context, s *site.Site, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return site.Until(ctx, id+" leads", func(ctx context.Context) error {
		leader, err := s.Leader(ctx)
		if err != nil {
			return err
		}
		if leader.ID != id {
			client, err := s.Client(5 * time.Second)
			if err != nil {
				return err
			}
			var done wire.Done
			if err := client.Post(ctx, wire.PathTransferLeader, wire.TransferRequest{To: id}, &done); err != nil {
				return err
			}
		}
		for _, c := range s.Controllers {
			status, err := s.StatusOf(ctx, c)
			if err != nil {
				return err
			}
			if status.Leader != id {
				return fmt.Errorf("%s says that %q leads", c.ID, status.Leader)
			}
		}
		return nil
	})
}

// fail has what is beside the master fail; it returns when that is so.
func fail(ctx context.Context, s *site.Site, beside Beside) error {
	switch beside {
	case Nothing:
		return nil
	case Leader:
		return controller(s, leaderID).Kill()
	case Datacenter:
		return s.Net.Cut(ctx, s.Net.Around(anotherDatacenter)...)
	case LeadersDatacenter:
		return s.Net.Cut(ctx, s.Net.Around(leaderDatacenter)...)
	case Consul:
		var errs []error
		for _, c := range s.Consuls {
			errs = append(errs, c.Kill())
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("nobody knows how %q fails", beside)
}

func controller(s *site.Site, id string) *site.Controller {
	return s.Controllers[slices.IndexFunc(s.Controllers, func(c *site.Controller) bool { return c.ID == id })]
}
