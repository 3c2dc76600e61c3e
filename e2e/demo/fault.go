package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
)

// act is what was done, and what came of it.
type act struct {
	before   wire.Topology
	at       time.Time
	recovery wire.Recovery
	old      *stack.Server
}

const (
	// faultTime bounds an act: a recovery that takes longer has failed.
	faultTime = 2 * time.Minute
	thawTime  = 20 * time.Second
	askTime   = time.Minute
)

func (d *demo) act(ctx context.Context, run *trial.Trial) (a act, err error) {
	ctx, cancel := context.WithTimeout(ctx, faultTime)
	defer cancel()
	if a.before, err = d.topology(ctx); err != nil {
		return a, err
	}
	if a.old, err = d.site.Server(a.before.Master.String()); err != nil {
		return a, err
	}
	if err := run.Before(ctx); err != nil {
		return a, err
	}
	if err := d.strike(ctx, &a); err != nil {
		return a, err
	}
	if a.recovery, err = run.Recovered(ctx); err != nil {
		return a, d.explain(ctx, err)
	}
	if a.recovery.Winner.IsZero() {
		return a, fmt.Errorf("recovery %s ended without a new master: %s %s", a.recovery.ID, a.recovery.Outcome, a.recovery.Message)
	}
	d.progress("recovery %s %s; the application writes again", a.recovery.ID, a.recovery.Outcome)
	if d.options.Fault != faultFreeze {
		return a, nil
	}
	return a, d.thaw(ctx, a)
}

func (d *demo) topology(ctx context.Context) (t wire.Topology, err error) {
	return t, d.site.Get(ctx, wire.PathTopology+site.ClusterName, &t)
}

func (d *demo) strike(ctx context.Context, a *act) error {
	master := a.old
	a.at = time.Now()
	switch d.options.Fault {
	case faultCrash:
		if err := master.Kill(); err != nil {
			return err
		}
		d.progress("SIGKILL for the master %s (pid %d)", master.Key(), master.Pid())
	case faultFreeze:
		if err := master.Freeze(); err != nil {
			return err
		}
		d.progress("SIGSTOP for the master %s (pid %d): its connections stay open, nothing answers", master.Key(), master.Pid())
	default:
		d.progress("switchover, as an operator asks for it")
		client, err := d.site.Client(askTime)
		if err != nil {
			return err
		}
		var answer wire.Recovery
		request := wire.SwitchoverRequest{Cluster: site.ClusterName, By: "demo"}
		if err := client.Post(ctx, wire.PathSwitchover, request, &answer); err != nil {
			return fmt.Errorf("switchover: %w", err)
		}
	}
	return nil
}

// explain adds to a failure what the controllers have to say about it. Whoever pressed Ctrl-C does not ask.
func (d *demo) explain(ctx context.Context, failure error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	explanation, err := d.site.Explain(ctx)
	if err != nil {
		return errors.Join(failure, err)
	}
	return fmt.Errorf("%w\n%s", failure, ctl.Explanation(explanation))
}

// thaw lets the old master go on, and waits until somebody has fenced it.
func (d *demo) thaw(ctx context.Context, a act) error {
	ctx, cancel := context.WithTimeout(ctx, thawTime)
	defer cancel()
	if err := a.old.Thaw(); err != nil {
		return err
	}
	at := time.Now()
	d.progress("SIGCONT for the old master: it believes that it is the master still")
	err := site.Until(ctx, "the old master is read-only", func(ctx context.Context) error {
		value, err := a.old.Value(ctx, "SELECT @@GLOBAL.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		return err
	})
	if err != nil {
		return err
	}
	d.progress("the old master was fenced %s after it went on; the proxy led nobody there", milliseconds(time.Since(at)))
	return nil
}
