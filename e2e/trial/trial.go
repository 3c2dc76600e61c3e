// Package trial runs an application against a site while something is done to it, and says afterwards what that cost:
// the longest write gap, what was lost, and whether anything happened that must never happen.
package trial

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/invariants"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/workload"
)

// LeastRate is how many acknowledged writes per second there should be before a fault.
const LeastRate = 500

// Trial is a site with an application that writes to it, and an observer of all of it.
type Trial struct {
	Site     *site.Site
	Load     *workload.Workload
	Observer *invariants.Observer
	// Rate is the number of acknowledged writes per second before the fault.
	Rate float64

	masters []uint32
	epoch   wire.Cluster
	faultAt time.Time
	stop    context.CancelFunc
	group   sync.WaitGroup
}

// Begin starts the application and the observer, and returns once writes are acknowledged at full rate.
func Begin(ctx context.Context, s *site.Site) (*Trial, error) {
	master := s.DB.Master
	if err := workload.CreateTable(ctx, master.Root(), stack.AppSchema); err != nil {
		return nil, err
	}
	app := stack.AppAccount()
	t := &Trial{Site: s}
	var err error
	if t.Load, err = workload.New(workload.Config{
		Address: s.Proxies[0].Listen, User: app.User, Password: app.Password, Schema: stack.AppSchema,
	}); err != nil {
		return nil, err
	}
	if t.Observer, err = Watch(s); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	t.stop = stop
	t.group.Go(func() { t.Observer.Run(running) })
	t.group.Go(func() { _ = t.Load.Run(running) }) // it ends with an error only where ctx did
	if err := t.warmUp(ctx); err != nil {
		t.halt()
		return nil, err
	}
	return t, nil
}

// Watch returns an observer of all of a site's servers and proxies.
func Watch(s *site.Site) (*invariants.Observer, error) {
	app := stack.AppAccount()
	return invariants.NewObserver(invariants.Config{Targets: Targets(s), User: app.User, Password: app.Password})
}

// Targets are all of a site's proxies and servers.
func Targets(s *site.Site) (targets []invariants.Target) {
	for _, p := range s.Proxies {
		targets = append(targets, invariants.Target{Name: p.Name, Address: p.Listen, Proxy: true})
	}
	for _, p := range s.ProxySQLs {
		targets = append(targets, invariants.Target{Name: p.Name, Address: p.Address(), Proxy: true})
	}
	for _, server := range s.Servers() {
		targets = append(targets, invariants.Target{Name: server.Key(), Address: server.Key()})
	}
	return targets
}

// rampUp is how long the full rate is waited for; a machine that is slow today goes on with less.
const rampUp = 10 * time.Second

// warmUp waits until half a second of writes came at the least rate, or the machine was given its time.
func (t *Trial) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for begun := time.Now(); ; {
		from := time.Now()
		if err := t.Load.WaitWriting(ctx, LeastRate/2); err != nil {
			return fmt.Errorf("writes are not acknowledged: %w", err)
		}
		t.Rate = workload.Rate(t.Load.Acked(), from, time.Now())
		if t.Rate >= LeastRate || time.Since(begun) > rampUp {
			return nil
		}
	}
}

// Before notes who is master, right before a fault.
func (t *Trial) Before(ctx context.Context) (err error) {
	if t.epoch, err = t.Site.Cluster(ctx); err != nil {
		return err
	}
	t.masters = []uint32{t.Site.DB.Master.ServerID()}
	t.faultAt = time.Now()
	return nil
}

// Recovered waits until the newest recovery since Before has ended, and writes are acknowledged again.
func (t *Trial) Recovered(ctx context.Context) (wire.Recovery, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var ended wire.Recovery
	err := site.Until(ctx, "a recovery has ended", func(ctx context.Context) error {
		list, err := t.Site.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Epoch.Compare(t.epoch.Epoch) <= 0 {
			return errors.New("none has begun")
		}
		if list[0].Open() {
			return fmt.Errorf("%s is open", list[0].ID)
		}
		ended, err = t.Site.Recovery(ctx, list[0].ID)
		return err
	})
	if err != nil {
		return ended, err
	}
	return ended, t.Load.WaitWriting(ctx, LeastRate/2)
}

// Report is what a trial showed.
type Report struct {
	// Outage is the longest time between two acknowledged writes of all workers together, since the fault.
	Outage time.Duration
	Acked  int
	Errors workload.Errors
	// Lost are the acknowledged writes that the last master does not have.
	Lost    []workload.Write
	Verdict invariants.Verdict
}

// End stops the application and judges. winners are the masters after the first, in their order; zeroLoss demands
// that nothing acknowledged is missing on the last of them.
func (t *Trial) End(ctx context.Context, zeroLoss bool, winners ...*stack.Server) (Report, error) {
	t.halt()
	last := t.Site.DB.Master
	for _, w := range winners {
		t.masters = append(t.masters, w.ServerID())
		last = w
	}
	r := Report{Outage: t.Load.Outage(t.faultAt, time.Now()).Length(), Acked: t.Load.Count(), Errors: t.Load.Errors()}
	var err error
	if r.Lost, err = t.Load.Missing(ctx, last.Root()); err != nil {
		return r, err
	}
	r.Verdict = invariants.Judge(invariants.Evidence{
		Samples: t.Observer.Samples(), Writes: t.Load.Acked(), Lost: r.Lost, Masters: t.masters, SemiSync: zeroLoss,
	})
	return r, nil
}

// Close stops the application and the observer of a trial that is given up, or has ended already.
func (t *Trial) Close() { t.halt() }

func (t *Trial) halt() {
	t.stop()
	t.group.Wait()
}

// Winner is the server that a recovery promoted.
func (t *Trial) Winner(r wire.Recovery) (*stack.Server, error) {
	return t.Site.Server(r.Winner.String())
}
