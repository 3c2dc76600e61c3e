package readers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

var (
	db1 = topology.Key{Host: "db1", Port: 3306}
	db2 = topology.Key{Host: "db2", Port: 3306}
	db3 = topology.Key{Host: "db3", Port: 3306}
)

var rules = policy.Readers{Tended: true, MaxLag: 10 * time.Second, LeaveAfter: 2 * time.Second, JoinAfter: 5 * time.Second,
	Weights: map[topology.Key]int{db3: 4}}

// world is a master db1 with the replicas db2 and db3, as one controller sees it, and the ledger of it.
type world struct {
	state  ledger.State
	sights map[topology.Key]topology.Observation
	source map[topology.Key]topology.Key
	rules  policy.Readers
	leads  bool
	// refuse is what the ledger says to everything.
	refuse   error
	proposed int
	t        *testing.T
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, leads: true, rules: rules, sights: map[topology.Key]topology.Observation{}, source: map[topology.Key]topology.Key{}}
	for _, cmd := range []ledger.Command{ledger.Bootstrap{ID: "x", Generation: 1},
		ledger.AdoptMaster{Cluster: "shop", Master: db1, At: time.Now()},
		ledger.RememberServers{Cluster: "shop", Servers: []ledger.ServerName{{Key: db2}, {Key: db3}}, At: time.Now()}} {
		w.must(w.Propose(t.Context(), cmd))
	}
	w.proposed = 0
	w.see(db1, topology.Instance{})
	w.lag(db2, 0)
	w.lag(db3, 0)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) State() ledger.State { return w.state }
func (w *world) IsLeader() bool      { return w.leads }

func (w *world) Propose(_ context.Context, cmd ledger.Command) error {
	w.proposed++
	if w.refuse != nil {
		return w.refuse
	}
	next, _, err := ledger.Apply(w.state, cmd)
	w.state = next
	return err
}

func (w *world) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	s := topology.Snapshot{Cluster: cluster, Master: master, At: time.Now(), Taker: "c1", Servers: map[topology.Key]topology.Server{}}
	view := topology.View{Observer: "c1", Observations: map[topology.Key]topology.Observation{}}
	for k, o := range w.sights {
		s.Servers[k] = topology.Server{Key: k, Last: o.Instance, Source: w.source[k]}
		view.Observations[k] = o
	}
	s.Views = []topology.View{view}
	return s
}

func (w *world) see(k topology.Key, i topology.Instance) {
	i.DataCenter = "dc-" + k.Host
	w.sights[k] = topology.Observation{Key: k, Reach: topology.ReachOK, Instance: &i}
}

// replica makes k follow the source, unless a change says otherwise.
func (w *world) replica(k, source topology.Key, change func(*topology.Replication)) {
	lag := time.Duration(0)
	r := topology.Replication{Source: source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning, Lag: &lag}
	change(&r)
	w.source[k] = source
	w.see(k, topology.Instance{Replication: &r})
}

func (w *world) lag(k topology.Key, lag time.Duration) {
	w.replica(k, db1, func(r *topology.Replication) { r.Lag = &lag })
}

func (w *world) silent(k topology.Key, reach topology.Reach) {
	w.sights[k] = topology.Observation{Key: k, Reach: reach}
}

func (w *world) readers() string {
	var out []string
	for _, r := range w.state.Clusters["shop"].Readers {
		out = append(out, r.Host)
	}
	return strings.Join(out, " ")
}

// tended runs the test in a bubble, with a tender that works beside it.
func tended(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tender := New(Config{Self: "c1", Policy: func(string) policy.Cluster { return policy.Cluster{Readers: w.rules} }, Now: time.Now}, w, w,
			slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tender.Run(ctx) }()
		// In step with the tender's ticks, so that they and the test never touch the world together.
		time.Sleep(100 * time.Millisecond)
		test(w)
		cancel()
		w.must(<-done)
	})
}

func (w *world) after(d time.Duration, want string) {
	w.t.Helper()
	time.Sleep(d)
	if got := w.readers(); got != want {
		w.t.Errorf("after %s: the readers are %q, want %q", d, got, want)
	}
}

func TestWhoIsFit(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*world)
		want   string
	}{
		"all":          {func(*world) {}, "db2 db3"},
		"lag at limit": {func(w *world) { w.lag(db2, 5*time.Second) }, "db2 db3"},
		"lag":          {func(w *world) { w.lag(db2, 11*time.Second) }, "db3"},
		"unknown lag":  {func(w *world) { w.replica(db2, db1, func(r *topology.Replication) { r.Lag = nil }) }, "db3"},
		"receiver": {func(w *world) {
			w.replica(db2, db1, func(r *topology.Replication) { r.IO = topology.ThreadConnecting })
		}, "db3"},
		"applier":    {func(w *world) { w.replica(db2, db1, func(r *topology.Replication) { r.SQL = topology.ThreadStopped }) }, "db3"},
		"no replica": {func(w *world) { w.see(db2, topology.Instance{}) }, "db3"},
		"hung":       {func(w *world) { w.silent(db2, topology.ReachHung) }, "db3"},
		"gone":       {func(w *world) { w.silent(db2, topology.ReachRefused) }, "db3"},
		"excluded":   {func(w *world) { w.rules.Exclude = []topology.Key{db3} }, "db2"},
		"deposed": {func(w *world) {
			w.must(w.Propose(w.t.Context(), ledger.SetStanding{Server: db2, Standing: ledger.Deposed, At: time.Now()}))
		}, "db3"},
		"quarantined": {func(w *world) {
			w.must(w.Propose(w.t.Context(), ledger.SetStanding{Server: db2, Standing: ledger.Quarantined, At: time.Now()}))
		}, "db3"},
		"detached": {func(w *world) {
			w.must(w.Propose(w.t.Context(), ledger.SetDetached{Server: db2, From: db1, By: "kim", Reason: "x", At: time.Now()}))
		}, "db3"},
		"downtime": {func(w *world) {
			w.must(w.Propose(w.t.Context(), ledger.BeginDowntime{Server: db2, Owner: "kim", Reason: "x", Until: time.Now().Add(time.Hour), At: time.Now()}))
		}, "db3"},
		"below another": {func(w *world) { w.replica(db2, db3, func(*topology.Replication) {}) }, "db2 db3"},
		"below one that lags": {func(w *world) {
			w.replica(db2, db3, func(*topology.Replication) {})
			w.lag(db3, time.Minute)
		}, ""},
		"below a stranger": {func(w *world) { w.source[db2] = topology.Key{} }, "db3"},
		"in a ring": {func(w *world) {
			w.replica(db2, db3, func(*topology.Replication) {})
			w.replica(db3, db2, func(*topology.Replication) {})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tended(t, func(w *world) {
				w.after(time.Second, "db2 db3") // whoever is fit when first seen comes at once
				test.change(w)
				w.after(4*time.Second, test.want)
			})
			// And from the beginning.
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				test.change(w)
				tender := New(Config{Self: "c1", Policy: func(string) policy.Cluster { return policy.Cluster{Readers: w.rules} }, Now: time.Now}, w, w,
					slog.New(slog.DiscardHandler))
				tender.round(t.Context())
				if got := w.readers(); got != test.want {
					t.Errorf("at first sight: the readers are %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestWhatReadersAreGiven(t *testing.T) {
	tended(t, func(w *world) {
		want := []routes.Reader{{Server: routes.Server{Host: "db2", Port: 3306}, Datacenter: "dc-db2", Weight: 1},
			{Server: routes.Server{Host: "db3", Port: 3306}, Datacenter: "dc-db3", Weight: 4}}
		if got := w.state.Clusters["shop"].Readers; !slices.Equal(got, want) {
			t.Errorf("got %+v", got)
		}
		// Where it stands is remembered while it does not answer.
		w.silent(db3, topology.ReachTimeout)
		time.Sleep(time.Second)
		if got := w.state.Clusters["shop"].Readers; !slices.Equal(got, want) || w.proposed != 1 {
			t.Errorf("after %d commands %+v", w.proposed, got)
		}
	})
}

// TestLagThatFlaps: it leaves once, and comes back when it has settled.
func TestLagThatFlaps(t *testing.T) {
	tended(t, func(w *world) {
		for range 5 {
			// Too short to leave.
			w.lag(db2, 20*time.Second)
			w.after(time.Second, "db2 db3")
			w.lag(db2, 0)
			w.after(time.Second, "db2 db3")
		}
		w.lag(db2, 20*time.Second)
		w.after(3*time.Second, "db3")
		for range 5 {
			w.lag(db2, 0)
			w.after(3*time.Second, "db3")
			w.lag(db2, 20*time.Second)
			w.after(time.Second, "db3")
		}
		// It is within the limit, and not near enough to come.
		w.lag(db2, 8*time.Second)
		w.after(time.Minute, "db3")
		w.lag(db2, 4*time.Second)
		w.after(6*time.Second, "db2 db3")
		// Nor does what lets it stay send it away.
		w.lag(db2, 8*time.Second)
		w.after(time.Minute, "db2 db3")
		if w.proposed != 3 {
			t.Errorf("the readers changed %d times", w.proposed)
		}
	})
}

// TestDeadMasterKeepsItsReaders: they serve what they have until there is another master. One of them that dies leaves.
func TestDeadMasterKeepsItsReaders(t *testing.T) {
	tended(t, func(w *world) {
		w.silent(db1, topology.ReachRefused)
		for _, k := range []topology.Key{db2, db3} {
			w.replica(k, db1, func(r *topology.Replication) { r.IO, r.Lag = topology.ThreadConnecting, nil })
		}
		w.after(time.Minute, "db2 db3")
		w.silent(db2, topology.ReachRefused)
		w.after(time.Second, "db3")
		// Whoever sees nobody is cut off himself.
		w.silent(db3, topology.ReachTimeout)
		w.after(time.Minute, "db3")
	})
}

func TestRecoveryIsLeftAlone(t *testing.T) {
	tended(t, func(w *world) {
		w.must(w.Propose(w.t.Context(), ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Switchover, Finding: "Asked", Old: db1,
			ExpectEpoch: w.state.Clusters["shop"].Epoch, Leader: "c1", At: time.Now()}))
		before := w.proposed
		w.silent(db3, topology.ReachRefused)
		w.after(10*time.Second, "db2 db3")
		if w.proposed != before {
			t.Errorf("%d commands within a recovery", w.proposed-before)
		}
		id := w.state.Clusters["shop"].Recovery
		w.must(w.Propose(w.t.Context(), ledger.ChooseWinner{Recovery: id, Winner: db2, At: time.Now()}))
		w.must(w.Propose(w.t.Context(), ledger.Announce{Recovery: id, At: time.Now()}))
		w.must(w.Propose(w.t.Context(), ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: time.Now()}))
		w.after(time.Second, "")
		// The old master is back as a replica, and has to earn it.
		w.see(db2, topology.Instance{})
		w.replica(db1, db2, func(*topology.Replication) {})
		w.after(10*time.Second, "")
		w.must(w.Propose(w.t.Context(), ledger.SetStanding{Server: db1, Standing: ledger.Member, At: time.Now()}))
		w.after(3*time.Second, "")
		w.after(3*time.Second, "db1")
	})
}

func TestWriterFallsIn(t *testing.T) {
	tended(t, func(w *world) {
		w.rules.Writer = true
		w.silent(db2, topology.ReachRefused)
		w.silent(db3, topology.ReachRefused)
		w.after(time.Second, "db1")
		w.lag(db2, 0)
		w.after(3*time.Second, "db1")
		w.after(3*time.Second, "db2")
		w.silent(db2, topology.ReachRefused)
		w.after(time.Second, "db1")
		w.rules.Writer = false
		w.after(time.Second, "")
	})
	// It does not come before anybody was looked at.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules.Writer = true
		delete(w.sights, db2)
		w.sights[db3] = topology.Observation{Key: db3, Reach: topology.ReachTimeout}
		w.sights[db2] = topology.Observation{}
		tender := New(Config{Self: "c1", Policy: func(string) policy.Cluster { return policy.Cluster{Readers: w.rules} }, Now: time.Now},
			w, unlooked{w}, slog.New(slog.DiscardHandler))
		tender.round(t.Context())
		if got := w.readers(); got != "" {
			t.Errorf("the readers are %q", got)
		}
	})
}

// unlooked has not looked at db2 yet.
type unlooked struct{ *world }

func (u unlooked) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	s := u.world.Snapshot(cluster, master)
	delete(s.Views[0].Observations, db2)
	return s
}

func TestWhoDoesNotLeadChangesNothing(t *testing.T) {
	tended(t, func(w *world) {
		w.leads = false
		w.silent(db2, topology.ReachRefused)
		w.after(10*time.Second, "db2 db3")
		w.leads = true
		w.after(time.Second, "db3")
		// What the ledger refuses is tried again.
		w.refuse = errors.New("no quorum")
		w.silent(db3, topology.ReachRefused)
		w.after(3*time.Second, "db3")
		w.refuse = nil
		w.after(time.Second, "")
		w.lag(db2, 0)
		w.after(6*time.Second, "db2")
		w.rules.Tended = false
		w.after(time.Second, "")
	})
}
