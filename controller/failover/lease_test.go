package failover_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// sidecars are what is known of the leases of a pretend cluster.
type sidecars struct {
	lease  *safety.Lease
	asked  atomic.Int32
	ending atomic.Bool
	// unfenced is when the master was fenced; zero for never.
	unfenced time.Time
}

func (s *sidecars) Unfenced(_ context.Context, _ string, server topology.Key, since time.Time) bool {
	return server == key("m") && s.unfenced.After(since)
}

func (s *sidecars) Promise(_ context.Context, _ string, server topology.Key, _ time.Time) *safety.Lease {
	s.asked.Add(1)
	if server != key("m") {
		return nil
	}
	return s.lease
}

func (s *sidecars) Ending(server topology.Key, since time.Time) bool {
	return server == key("m") && !since.IsZero() && s.ending.Load()
}

// TestMasterThatIsCutOff is failed over by the promise of its lease, or in a
// cluster that has no sidecars at the operator's risk.
func TestMasterThatIsCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		partition policy.Partition
		leases    *sidecars
		drawn     string
		hold      safety.Code
		asked     bool
		evidence  string
	}{
		"promised":   {policy.PartitionFailover, &sidecars{lease: &safety.Lease{Promise: "it is outlasted"}}, cutOff, "", true, "it is outlasted"},
		"missing":    {policy.PartitionFailover, &sidecars{lease: &safety.Lease{Missing: "not tied"}}, cutOff, safety.NoLease, true, ""},
		"none":       {policy.PartitionFailover, &sidecars{}, cutOff, "", true, ""},
		"hold":       {policy.PartitionHold, &sidecars{lease: &safety.Lease{Promise: "it is outlasted"}}, cutOff, safety.MasterCutOff, false, ""},
		"it crashed": {policy.PartitionFailover, &sidecars{lease: &safety.Lease{Missing: "not tied"}}, dead, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.Partition, w.leases = c.partition, c.leases
				loop, stop := w.start()
				defer stop()
				w.draw(c.drawn)
				pass(3 * time.Second)
				claims := w.claims()
				if (c.hold == "") != (len(claims) == 1) || c.asked != (c.leases.asked.Load() > 0) {
					t.Fatalf("%d claims, asked %d times", len(claims), c.leases.asked.Load())
				}
				if a, _ := loop.Last("shop"); c.hold != "" && a.Verdict.Code != c.hold {
					t.Errorf("%+v", a.Verdict)
				}
				if c.evidence != "" && !slices.ContainsFunc(claims[0].Evidence, func(e string) bool { return strings.Contains(e, c.evidence) }) {
					t.Errorf("evidence: %q", claims[0].Evidence)
				}
			})
		})
	}
}

// TestSidecarMaySayHowItEnded: a MariaDB that shuts down looks like one that
// crashed, until its sidecar has said so; that is waited for, and not for long.
func TestSidecarMaySayHowItEnded(t *testing.T) {
	for name, c := range map[string]struct {
		flavor           gtid.Flavor
		says             time.Duration
		earliest, latest time.Duration
	}{
		"it crashed, and the sidecar says so": {gtid.MariaDB, 500 * time.Millisecond, 500 * time.Millisecond, time.Second},
		"the sidecar says nothing":            {gtid.MariaDB, time.Hour, 2 * time.Second, 3 * time.Second},
		"a MySQL says it by itself":           {gtid.MySQL, time.Hour, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &sidecars{}
				s.ending.Store(true)
				w.leases = s
				_, stop := w.start()
				defer stop()
				begun := time.Now()
				w.draw(dead, func(snap topology.Snapshot) {
					m := snap.Servers[key("m")]
					m.Last.Flavor = c.flavor
					for _, v := range snap.Views {
						o := v.Observations[key("m")]
						o.Tripwire = topology.TripEnd{Kind: topology.TripBroken, At: begun}
						v.Observations[key("m")] = o
					}
				})
				time.AfterFunc(c.says, func() { s.ending.Store(false) })
				pass(4 * time.Second)
				claims := w.claims()
				if len(claims) != 1 {
					t.Fatalf("%+v", claims)
				}
				if took := claims[0].At.Sub(begun); took < c.earliest || took > c.latest {
					t.Errorf("claimed after %s", took)
				}
			})
		})
	}
}

// TestStrictWaitsForProxies that do not answer, unless a lease ends instead.
func TestStrictWaitsForProxies(t *testing.T) {
	for name, c := range map[string]struct {
		policy  policy.Proxies
		lease   *safety.Lease
		claimed bool
	}{
		"fast":                 {policy.ProxiesFast, nil, true},
		"strict":               {policy.ProxiesStrict, nil, false},
		"strict with a lease":  {policy.ProxiesStrict, &safety.Lease{Promise: "it is outlasted"}, true},
		"strict without a use": {policy.ProxiesStrict, &safety.Lease{Missing: "not tied"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.UnreachableProxies, w.leases, w.unknown = c.policy, &sidecars{lease: c.lease}, []string{"ha2"}
				loop, stop := w.start()
				defer stop()
				w.draw(dead)
				pass(3 * time.Second)
				a, _ := loop.Last("shop")
				if claimed := len(w.claims()) == 1; claimed != c.claimed || !claimed && a.Verdict.Code != safety.ProxiesUnreachable {
					t.Errorf("claimed %v: %+v", claimed, a.Verdict)
				}
			})
		})
	}
}

// TestMasterThatItsSidecarFencedServesAgain, once the sidecar holds the lease
// again; one that somebody made read-only is left alone.
func TestMasterThatItsSidecarFencedServesAgain(t *testing.T) {
	for name, fenced := range map[string]bool{"fenced": true, "by hand": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &sidecars{}
				w.leases = s
				_, stop := w.start()
				defer stop()
				pass(2 * time.Second)
				if fenced {
					s.unfenced = time.Now().Add(time.Second)
				}
				w.draw(strings.Replace(healthy, "server m exec", "server m readonly exec", 1), func(snap topology.Snapshot) {
					snap.Servers[key("m")].Last.Uptime = time.Hour
					for _, v := range snap.Views {
						v.Observations[key("m")].Instance.Uptime = time.Hour
					}
				})
				pass(4 * time.Second)
				claims := w.claims()
				if fenced != (len(claims) == 1) {
					t.Fatalf("%+v", claims)
				}
				if fenced && (claims[0].RecoveryKind != ledger.Reinstate || !strings.Contains(claims[0].Evidence[0], "fenced by its sidecar")) {
					t.Errorf("%+v", claims[0])
				}
			})
		})
	}
}
