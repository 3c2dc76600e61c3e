package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.uber.org/fx"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/publisher"
	"switchyard/controller/rejoin"
	"switchyard/controller/topology"
	"switchyard/controller/witness"
	"switchyard/integrations/mysql/probe"
	"switchyard/router/fleet"
	"switchyard/store"
	"switchyard/store/ledger"
)

// watching is what sees the database servers.
func watching() fx.Option {
	return fx.Provide(newProber, newNamer, newObserver, newAsker, newHands, newGauge, newMetrics)
}

// remembering is the ledger.
func remembering() fx.Option { return fx.Provide(newStore) }

// telling is what moves proxies and writes the master's identity.
func telling() fx.Option { return fx.Provide(newFleet, newPublisher) }

// deciding is the loop, with the hands that it acts by, and the door.
func deciding() fx.Option {
	return fx.Provide(newExecutor, newRejoiner, newLoop, newConsole, newDoor)
}

func newStore(lc fx.Lifecycle, c *config.File, log *slog.Logger) (*store.Store, error) {
	s, err := openStore(c, log)
	if err != nil {
		return nil, &StartError{err}
	}
	// Last to close: it hands leadership over, and everything else uses it.
	lc.Append(fx.StopHook(s.Close))
	return s, nil
}

func newExecutor(
	c *config.File, s *store.Store, o *observer.Observer, hands executor.Hands, f *fleet.Fleet, p *publisher.Publisher,
	log *slog.Logger,
) *executor.Executor {
	return executor.New(executor.Config{
		Self: c.ID, Policy: c.Policy, Now: time.Now,
	}, s, o, hands, f, p, log)
}

func newRejoiner(c *config.File, s *store.Store, o *observer.Observer, hands executor.Hands, log *slog.Logger) *rejoin.Rejoiner {
	last := func(k topology.Key) *topology.Instance {
		cluster := s.State().Servers[k].Cluster
		return o.Snapshot(cluster, s.State().Clusters[cluster].Master).Servers[k].Last
	}
	return rejoin.New(rejoin.Config{
		Address: func(k topology.Key) topology.Key {
			if i := last(k); i != nil && !i.Address.IsZero() {
				return i.Address
			}
			return k
		},
		SemiSync: func(cluster string) bool {
			if mode := c.Policy(cluster).SemiSync; mode != policy.SemiSyncAuto {
				return mode == policy.SemiSyncOn
			}
			i := last(s.State().Clusters[cluster].Master)
			return i != nil && i.SemiSync.SourceEnabled
		},
		Now: time.Now,
	}, s, o, hands, log)
}

func newLoop(
	c *config.File, s *store.Store, o *observer.Observer, a *witness.Asker, e *executor.Executor, r *rejoin.Rejoiner,
	f *fleet.Fleet, m *metrics.Metrics, t *tasks, log *slog.Logger,
) *failover.Loop {
	hints := make(chan failover.Suspicion)
	t.run("suspicions", func(ctx context.Context) error { return sight{o}.suspicions(ctx, hints) })
	end := func(rec ledger.Recovery) {
		m.ObserveRecovery(rec.Cluster, string(rec.Kind), string(rec.Outcome), rec.EndedAt.Sub(rec.StartedAt))
		if rec.Kind != ledger.Failover {
			return
		}
		for phase, ms := range console.Phases(rec) {
			m.ObservePhase(rec.Cluster, phase, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	return failover.New(failover.Config{Self: c.ID, Policy: c.Policy, Now: time.Now, Unknown: f.Unknown, OnEnd: end, OnHold: m.CountHold},
		s, sight{o}, a, e, r, hints, log)
}

func newConsole(
	c *config.File, boot Boot, s *store.Store, o *observer.Observer, l *failover.Loop, f *fleet.Fleet, p *publisher.Publisher,
	g *gauge, r *rejoin.Rejoiner,
) *console.Console {
	cfg := console.Config{Self: c.ID, Boot: string(boot), Policy: c.Policy, Now: time.Now}
	urls := map[string]string{}
	cfg.Peers = func(ctx context.Context) map[string]string { return adminapi.States(ctx, urls) }
	for _, peer := range c.Controllers {
		urls[peer.ID] = peer.HTTP
		cfg.Controllers = append(cfg.Controllers, wire.Controller{
			ID: peer.ID, Raft: peer.Raft, API: peer.HTTP, DataCenter: peer.Datacenter,
		})
	}
	proxies := func() []console.Receiver { return proxies(c, f, s) }
	consuls := func() []console.Receiver { return consuls(p, s) }
	read := func() metrics.State { return measure(s, o, proxies, consuls) }
	g.read.Store(&read)
	return console.New(cfg, raft{s}, o, l, r, proxies, consuls)
}

func newDoor(c *config.File, boot Boot, svc *console.Console, m *metrics.Metrics, log *slog.Logger) *adminapi.Server {
	cfg := adminapi.Config{
		Bind: c.Bind.HTTP, SelfID: c.ID, Name: c.Name, Boot: string(boot), Secret: c.Secret.Reveal(),
		Peers: map[string]string{}, Metrics: m.Handler(),
	}
	for _, peer := range c.Controllers {
		cfg.Peers[peer.ID] = peer.HTTP
	}
	return adminapi.New(cfg, svc, log)
}

// start binds the door, and then starts every part; they stop together, before
// the store closes.
func start(
	lc fx.Lifecycle, t *tasks, c *config.File, boot Boot, door *adminapi.Server, s *store.Store, o *observer.Observer,
	f *fleet.Fleet, p *publisher.Publisher, l *failover.Loop, prober *probe.Prober, log *slog.Logger,
) {
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			if err := door.Listen(); err != nil {
				return err
			}
			t.run("http", door.Run)
			t.run("store", s.Run)
			t.run("observer", o.Run)
			t.run("fleet", f.Run)
			t.run("publisher", p.Run)
			t.run("failover", l.Run)
			t.run("identity", func(ctx context.Context) error { return stayAlone(ctx, c, boot) })
			log.Info("started", "http", c.Bind.HTTP, "raft", c.Bind.Raft)
			return nil
		},
		OnStop: func(ctx context.Context) error {
			err := t.stop(ctx)
			prober.Close()
			return err
		},
	})
}

// stayAlone asks once more, now that this process answers at its address.
func stayAlone(ctx context.Context, c *config.File, boot Boot) error {
	for {
		if err := alone(ctx, c, string(boot)); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}
