package store

import (
	"slices"
	"testing"
	"time"
)

// TestLatency keeps an eye on the road to a failover within 150 ms, in which
// three commits have 30 ms: a bound far above what is measured, so that only a
// mistake passes it (such as a wait for the next heartbeat, of which there is one
// in 400 ms or more here), and not a busy machine.
func TestLatency(t *testing.T) {
	all := openAll(t, configs(t, 3))
	lead := leader(t, all...)
	follower := others(all, lead)[0]
	measured := make([]time.Duration, 200)
	for n := range measured {
		began := time.Now()
		propose(t, lead, adopt(n+1))
		measured[n] = time.Since(began)
	}
	began := time.Now()
	propose(t, lead, adopt(1000))
	eventually(t, "the follower applies it", func() bool { return knows(follower, 1000) })
	late := time.Since(began)
	slices.Sort(measured)
	median := measured[len(measured)/2]
	t.Logf("Propose on 3 controllers: median %s, p99 %s, worst %s; a follower had one after %s",
		median, measured[len(measured)*99/100], measured[len(measured)-1], late)
	if good := measured[len(measured)/4]; good > 200*time.Millisecond {
		t.Errorf("three in four took more than %s", good)
	}
	verifying := time.Now()
	if err := lead.VerifyLeader(bounded(t)); err != nil {
		t.Error(err)
	}
	t.Logf("VerifyLeader took %s", time.Since(verifying))
}
