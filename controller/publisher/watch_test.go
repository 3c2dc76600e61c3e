package publisher_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/publisher"
	"switchyard/router/routes"
)

// TestTheLeaderSeesWhatOthersKeep: whoever wrote it, and however its own push had
// ended, its status and the ledger say what the directory holds.
func TestTheLeaderSeesWhatOthersKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1, dc2 := newShelf("dc1"), newShelf("dc2")
		right := routes.Record{Cluster: "shop", Epoch: table(5, "").Epoch, Revision: 2, Master: routes.Server{Host: "db1", Port: 3306}}
		dc2.held["shop"] = right
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1", Controllers: func() []string { return []string{"dc1", "dc2"} }}, ledger, dc1, dc2)
		defer audit(t, p)()
		now := func() publisher.TargetStatus { time.Sleep(5 * time.Second); return p.Status()[1] }
		if s := now(); !s.Reachable || s.LastError != "" || s.Epoch != right.Epoch || s.ConfirmedAt.IsZero() {
			t.Errorf("right: %+v", s)
		}
		if got := ledger.confirmations(); !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, "dc2 shop") }) {
			t.Errorf("the ledger was told %v", got)
		}
		dc2.set(func(s *shelf) { s.hangs = true })
		ledger.set(func(b *book) { b.tables = []routes.Table{table(6, "db2")} })
		if p.Push(t.Context(), table(6, "db2"))[1].Answer == routes.Confirmed {
			t.Fatal("a directory that hangs has confirmed")
		}
		if s := now(); s.Reachable || s.LastError == "" {
			t.Errorf("hung: %+v", s)
		}
		dc2.set(func(s *shelf) { s.hangs = false })
		if s := now(); !s.Reachable || s.Epoch != right.Epoch || !strings.Contains(s.LastError, "db2:3306") {
			t.Errorf("behind: %+v", s)
		}
		next := right
		next.Epoch, next.Master.Host = table(6, "").Epoch, "db2"
		dc2.set(func(s *shelf) { s.held["shop"] = next })
		if s := now(); !s.Reachable || s.LastError != "" || s.Epoch != next.Epoch {
			t.Errorf("its own controller has written it: %+v", s)
		}
		next.Epoch = table(7, "").Epoch
		dc2.set(func(s *shelf) { s.held["shop"] = next })
		if s := now(); !s.Held || !strings.Contains(s.LastError, "above the ledger's") {
			t.Errorf("a higher epoch: %+v", s)
		}
		if _, writes := dc2.counts(); writes != 0 {
			t.Errorf("%d writes to a directory that another one keeps", writes)
		}
	})
}
