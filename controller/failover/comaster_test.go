package failover_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// A co-master replicates from its other half, and is the master all the same;
// while the other half takes writes, it is not made a second one.
func TestCoMasterIsReinstated(t *testing.T) {
	ring := strings.Replace(healthy, "server m exec", "server m <a exec", 1)
	writable := func(name string, on bool) func(topology.Snapshot) {
		return func(s topology.Snapshot) { s.Servers[key(name)].Last.ReadOnly = !on }
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(ring, up(time.Hour), writable("m", true))
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		w.draw(ring, readOnly(0), writable("a", true))
		pass(5 * time.Second)
		if claims := w.claims(); len(claims) != 0 {
			t.Fatalf("two would take writes: %+v", claims)
		}
		w.draw(ring, readOnly(0), writable("a", false))
		pass(time.Second)
		if claims := w.claims(); len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate {
			t.Errorf("claims %+v", claims)
		}
	})
}
