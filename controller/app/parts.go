package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.uber.org/fx"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/bulletin"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/leases"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/publisher"
	"switchyard/controller/quarantine"
	"switchyard/controller/readers"
	"switchyard/controller/rejoin"
	"switchyard/controller/relocate"
	"switchyard/controller/topology"
	"switchyard/controller/witness"
	"switchyard/integrations/mysql/probe"
	"switchyard/router/fleet"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
	"switchyard/store"
	"switchyard/store/ledger"
)

// watching is what sees the database servers.
func watching() fx.Option {
	return fx.Provide(newProber, newWriter, newNamer, newObserver, newAsker, newHands, newGauge, newMetrics)
}

// remembering is the ledger.
func remembering() fx.Option { return fx.Provide(newStore) }

// telling is what moves proxies and writes the master's identity.
func telling() fx.Option {
	return fx.Provide(newSidecarClient, newTails, newRegister, newPromoter, newBulletin, newFleet, newPublisher, newDirectories)
}

// deciding is the loop, with the hands that it acts by, and the door.
func deciding() fx.Option {
	return fx.Provide(newRules, newExecutor, newRejoiner, newRelocator, newSaver, newTender, newLoop, newConsole, newYielder, newAccord, newDoor)
}

func newStore(lc fx.Lifecycle, c *config.File, way carriage, log *slog.Logger) (*store.Store, error) {
	s, err := openStore(c, way, log)
	if err != nil {
		return nil, &StartError{err}
	}
	// Last to close: it hands leadership over, and everything else uses it.
	lc.Append(fx.StopHook(s.Close))
	return s, nil
}

// rules are those of a cluster, with what operators told the ledger.
type rules func(cluster string) policy.Cluster

func newRules(c *config.File, s *store.Store) rules {
	return func(cluster string) policy.Cluster {
		return failover.Rules(c.Policy(cluster), s.State(), cluster, time.Now())
	}
}

func newExecutor(
	c *config.File, p rules, s *store.Store, o *observer.Observer, hands executor.Hands, f *fleet.Fleet, consuls *publisher.Publisher,
	promoter *leases.Promoter, t tails, log *slog.Logger,
) *executor.Executor {
	return executor.New(executor.Config{
		Self: c.ID, Policy: p, Now: time.Now, Leases: promoter, Tails: t,
	}, s, o, hands, f, consuls, log)
}

// newTender says who serves readers.
func newTender(c *config.File, p rules, s *store.Store, o *observer.Observer, log *slog.Logger) *readers.Tender {
	return readers.New(readers.Config{Self: c.ID, Policy: p, Now: time.Now}, s, o, log)
}

func newRelocator(
	c *config.File, p rules, s *store.Store, o *observer.Observer, hands executor.Hands, log *slog.Logger,
) *relocate.Relocator {
	return relocate.New(relocate.Config{Self: c.ID, Policy: p, Now: time.Now}, s, o, hands, log)
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
	mover *relocate.Relocator, f *fleet.Fleet, pub *publisher.Publisher, b *bulletin.Bulletin, m *metrics.Metrics, register *leases.Register, promoter *leases.Promoter, t *tasks,
	log *slog.Logger,
) *failover.Loop {
	hints := make(chan failover.Suspicion)
	t.run("suspicions", func(ctx context.Context) error { return sight{o}.suspicions(ctx, hints) })
	t.run("reports of sidecars", func(ctx context.Context) error { return exits(ctx, register, o) })
	end := func(rec ledger.Recovery) {
		m.ObserveRecovery(rec.Cluster, string(rec.Kind), string(rec.Outcome), rec.EndedAt.Sub(rec.StartedAt))
		if rec.Kind != ledger.Failover {
			return
		}
		for phase, ms := range console.Phases(rec) {
			m.ObservePhase(rec.Cluster, phase, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	return failover.New(failover.Config{
		Self: c.ID, Policy: c.Policy, Now: time.Now, Unknown: f.Unknown, OnEnd: end, OnHold: m.CountHold,
		Relocator: mover, Mover: mover, Leases: promoter, Hooks: commands(c, log), AuditRetention: c.Recovery.AuditRetention,
		Higher: higher(c, pub, b),
	}, s, sight{o}, a, e, r, hints, log)
}

// commands are the operator's around a recovery; nil where there is none, which
// costs the way of a failure nothing.
func commands(c *config.File, log *slog.Logger) failover.Hooks {
	cfg := c.HooksConfig(os.LookupEnv)
	if len(cfg.Commands) == 0 {
		return nil
	}
	return hooks.New(cfg, log)
}

func newConsole(
	c *config.File, boot Boot, s *store.Store, o *observer.Observer, l *failover.Loop, f *fleet.Fleet, p *publisher.Publisher,
	g *gauge, r *rejoin.Rejoiner, q *quarantine.Saver, register *leases.Register, b *bulletin.Bulletin,
	d directories, way carriage,
) *console.Console {
	cfg := console.Config{Self: c.ID, Boot: string(boot), Policy: c.Policy, Now: time.Now, Sidecar: register.Shown}
	cfg.Directories = d
	cfg.Fleet = func() []wire.Proxy { return fleetOf(c, f, s, b) }
	cfg.Backup = raft{s}.Backup
	peers, all := way.peers(c), roster{s}
	cfg.Peers = func(ctx context.Context) map[string]string { return peers.States(ctx, all.urls()) }
	cfg.Members = raft{s}
	cfg.Voice = func(ctx context.Context, id string) (wire.Voice, error) { return peers.Voice(ctx, all.urls()[id]) }
	cfg.Controllers, cfg.Miscounts = all.shown, register.Miscounts
	proxies := func() []console.Receiver { return proxies(c, f, s) }
	consuls := func() []console.Receiver { return consuls(p, s) }
	out := console.New(cfg, raft{s}, o, l, tenders{r, q}, proxies, consuls)
	read := func() metrics.State {
		state := measure(s, o, out.Report, proxies, consuls, register.Shown)
		if state.Leader {
			addLooks(state.Proxies, f.Status(), time.Now())
		}
		return state
	}
	g.read.Store(&read)
	return out
}

func newYielder(c *console.Console, s *store.Store, log *slog.Logger) *console.Yielder {
	return console.NewYielder(c, s, log)
}

func newDoor(
	c *config.File, boot Boot, svc *console.Console, b *bulletin.Bulletin, m *metrics.Metrics, register *leases.Register,
	d directories, way carriage, log *slog.Logger,
) *adminapi.Server {
	cfg := adminapi.Config{
		Bind: c.Bind.HTTP, SelfID: c.ID, Name: c.Name, Boot: string(boot), Secret: c.Secret.Reveal(),
		SidecarSecret: c.Sidecars.Secret.Reveal(), Sidecars: leaseCalls(register), Word: register.Word,
		Peers: d.urls, Metrics: m.Handler(), Keeper: keeper{d},
		Auth: authOf(c.HTTP), TLS: way.server, PeerTLS: way.client,
	}
	cfg.Sidecars[protocol.PathWatch] = adminapi.SidecarCall{Deadline: bulletin.Deadline, Answer: door.Answer(b.Watch)}
	return adminapi.New(cfg, svc, log)
}

// start binds the door, and then starts every part; they stop together, before
// the store closes.
func start(
	lc fx.Lifecycle, t *tasks, c *config.File, way carriage, boot Boot, door *adminapi.Server, s *store.Store, o *observer.Observer,
	f *fleet.Fleet, p *publisher.Publisher, l *failover.Loop, q *quarantine.Saver, r *readers.Tender, y *console.Yielder, a *accord,
	g *gauge, prober *probe.Prober, log *slog.Logger,
) {
	g.accord.Store(a)
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
			t.run("quarantine", q.Run)
			t.run("readers", r.Run)
			t.run("yielding", y.Run)
			t.run("accord", a.Run)
			t.run("identity", func(ctx context.Context) error { return stayAlone(ctx, way, c, boot) })
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
func stayAlone(ctx context.Context, way carriage, c *config.File, boot Boot) error {
	for {
		if err := alone(ctx, way, c, string(boot)); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}
