package relocate_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// newSemiSync is a world with the direct replicas a to e of the master, which
// waits for two of them.
func newSemiSync(t *testing.T, repair policy.SemiSyncRepair, acking ...string) *world {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.add(name, "0-1-100", "m")
		w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key(name)}}})
	}
	for _, name := range acking {
		w.servers[key(name)].SemiSync.ReplicaEnabled = true
	}
	w.servers[key("i")].SemiSync.Available = false
	w.servers[key("m")].SemiSync.SourceEnabled, w.servers[key("m")].SemiSync.WaitCount = true, 2
	w.policy.SemiSyncRepair = repair
	return w
}

func TestSemiSync(t *testing.T) {
	for _, c := range []struct {
		name   string
		repair policy.SemiSyncRepair
		acking []string
		change func(*world)
		want   []string
	}{
		{"none", policy.SemiSyncLeave, nil, nil, nil},
		{"too few", policy.SemiSyncEnough, []string{"c"}, nil, []string{"semi-sync-on a"}},
		{"nobody", policy.SemiSyncEnough, nil, nil, []string{"semi-sync-on a", "semi-sync-on b"}},
		{"by promotion rule", policy.SemiSyncEnough, []string{"c"}, func(w *world) {
			w.policy.Rules = map[topology.Key]policy.Rule{key("a"): policy.MustNot, key("s"): policy.Prefer}
		}, []string{"semi-sync-on s"}},
		{"too many is enough", policy.SemiSyncEnough, []string{"a", "b", "c"}, nil, nil},
		{"too many is not exact", policy.SemiSyncExact, []string{"a", "b", "c"}, nil, []string{"semi-sync-off c"}},
		{"others than exact", policy.SemiSyncExact, []string{"b", "c"}, nil, []string{"semi-sync-off c", "semi-sync-on a"}},
		{"one does not receive", policy.SemiSyncEnough, []string{"c"}, func(w *world) {
			w.servers[key("a")].Replication.IO = topology.ThreadConnecting
		}, []string{"semi-sync-on b"}},
		{"who acknowledges does not receive", policy.SemiSyncEnough, []string{"a", "c"}, func(w *world) {
			w.servers[key("a")].stalled = time.Minute
		}, []string{"semi-sync-on b"}},
		{"one is in downtime", policy.SemiSyncEnough, []string{"c"}, func(w *world) {
			w.must(ledger.BeginDowntime{Server: key("a"), Owner: "ann", Reason: "x", At: w.now, Until: w.now.Add(time.Hour)})
		}, []string{"semi-sync-on b"}},
		{"the master does not wait", policy.SemiSyncEnough, nil, func(w *world) { w.servers[key("m")].SemiSync.SourceEnabled = false }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSemiSync(t, c.repair, c.acking...)
			if c.change != nil {
				c.change(w)
			}
			r := w.relocator("c1")
			if err := r.SemiSync(t.Context(), w.cluster(), w.pictured()); err != nil {
				t.Fatal(err)
			}
			if got := w.effects(); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if err := r.SemiSync(t.Context(), w.cluster(), w.pictured()); err != nil {
				t.Fatal(err)
			}
			if got := w.effects(); len(got) != 0 {
				t.Errorf("and again: %v", got)
			}
		})
	}
}

// On MariaDB the commits that wait go on once enough of those who acknowledge hold them, and never before. On MySQL the
// next commit lets them go on.
func TestSemiSyncReleasesWhatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		ends   bool
		fails  bool
	}{
		"held by both":      {func(*world) {}, true, false},
		"not for long":      {func(w *world) { w.servers[key("m")].still = time.Second }, false, false},
		"nobody waits":      {func(w *world) { w.servers[key("m")].SemiSync.Waiting = 0 }, false, false},
		"MySQL":             {func(w *world) { w.servers[key("m")].Flavor = gtid.MySQL }, false, false},
		"held by one":       {func(w *world) { w.behind("b") }, false, true},
		"not connected yet": {func(w *world) { w.servers[key("a")].Replication.IO = topology.ThreadConnecting }, true, false},
		"a third has it": {func(w *world) {
			w.behind("b")
			w.servers[key("c")].SemiSync.ReplicaEnabled = true
		}, true, false},
		"the others follow": {func(w *world) { w.servers[key("b")].Replication.Source = key("i") }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSemiSync(t, policy.SemiSyncEnough)
			w.servers[key("m")].SemiSync.Waiting = 3
			w.policy.LockedAfter, w.servers[key("m")].still = 10*time.Second, time.Minute
			if name == "not for long" {
				c.change(w)
			}
			s := w.pictured()
			c.change(w)
			err := w.relocator("c1").SemiSync(t.Context(), w.cluster(), s)
			if got := slices.Contains(w.effects(), "end-waiters m"); got != c.ends || (err != nil) != c.fails {
				t.Errorf("ended %v, %v", got, err)
			}
		})
	}
}

// behind has a replica lack the last transaction.
func (w *world) behind(name string) {
	s := w.servers[key(name)]
	s.Executed, s.Replication.Received = w.set("0-1-99"), w.set("0-1-99")
}

// Nobody stops acknowledging while another has not begun; a server that was
// changed a moment ago is not changed again.
func TestSemiSyncStopsNobodyTooSoon(t *testing.T) {
	w := newSemiSync(t, policy.SemiSyncExact, "b", "c")
	w.before = func(effect string) error {
		if effect == "semi-sync-on a" {
			return errors.New("broken by the test")
		}
		return nil
	}
	r := w.relocator("c1")
	if err := r.SemiSync(t.Context(), w.cluster(), w.pictured()); err == nil || len(w.effects()) != 0 {
		t.Errorf("%v", err)
	}
	w.before = nil
	if err := r.SemiSync(t.Context(), w.cluster(), w.pictured()); err == nil || len(w.effects()) != 0 {
		t.Errorf("again at once: %v", err)
	}
	w.now = w.now.Add(time.Minute)
	if err := r.SemiSync(t.Context(), w.cluster(), w.pictured()); err != nil {
		t.Error(err)
	}
	if got := w.effects(); !slices.Equal(got, []string{"semi-sync-off c", "semi-sync-on a"}) {
		t.Error(got)
	}
}

// Receivers are restarted once in a while, and never where it costs something.
func TestRestartReceivers(t *testing.T) {
	w := newWorld(t)
	r := w.relocator("c1")
	restart := func(want ...string) {
		t.Helper()
		if err := r.RestartReceivers(t.Context(), w.cluster(), w.pictured()); err != nil {
			t.Fatal(err)
		}
		if got := w.effects(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	restart() // MariaDB by GTID
	w.servers[key("i")].Flavor, w.servers[key("s")].Flavor = gtid.MySQL, gtid.MySQL
	w.servers[key("i")].Replication.IO = topology.ThreadStopped
	restart("restart-receiver s")
	restart()
	w.now = w.now.Add(time.Minute)
	restart("restart-receiver s")
	w.now = w.now.Add(time.Minute)
	w.deposed = true
	if err := r.RestartReceivers(t.Context(), w.cluster(), w.pictured()); err == nil || len(w.effects()) != 0 {
		t.Errorf("%v", err)
	}
}
