package ledger

import (
	"reflect"
	"testing"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

func reader(k topology.Key) routes.Reader {
	return routes.Reader{Server: routes.Server{Host: k.Host, Port: k.Port}, Weight: 1}
}

func readersOf(s State) []routes.Reader { return s.Routes(s.Clusters["shop"]).Readers }

// withReaders is a cluster of a (master), b and c, in which b and c serve readers.
func withReaders(t *testing.T) State {
	t.Helper()
	s := run(t, State{}, Bootstrap{ID: "prod", Generation: 7}, AdoptMaster{Cluster: "shop", Master: a, At: noon},
		RememberServers{Cluster: "shop", Servers: []ServerName{{Key: b}, {Key: c}}, At: noon})
	return run(t, s, SetReaders{Cluster: "shop", Readers: []routes.Reader{reader(b), reader(c)}, By: "ctl-1",
		ExpectEpoch: s.Clusters["shop"].Epoch, At: noon})
}

func TestReadersTakeARevision(t *testing.T) {
	s := withReaders(t)
	shop := s.Clusters["shop"]
	if shop.Revision != 2 || shop.WriterSince() != 1 || len(readersOf(s)) != 2 {
		t.Fatalf("cluster %+v", shop)
	}
	again := run(t, s, SetReaders{Cluster: "shop", Readers: readersOf(s), By: "ctl-1", ExpectEpoch: shop.Epoch, At: noon})
	if !reflect.DeepEqual(again, s) {
		t.Errorf("the same readers changed %+v to %+v", shop, again.Clusters["shop"])
	}
	none := run(t, s, SetReaders{Cluster: "shop", Readers: []routes.Reader{}, By: "ctl-1", ExpectEpoch: shop.Epoch, At: noon})
	if got := none.Clusters["shop"]; got.Revision != 3 || got.WriterSince() != 1 || got.Readers != nil {
		t.Errorf("no readers: %+v", got)
	}
	last := none.Audit[len(none.Audit)-1]
	if last.Action != "set-readers" || last.Reason != "nobody serves readers" {
		t.Errorf("audit %+v", last)
	}
}

func TestReadersThroughAFailover(t *testing.T) {
	s := withReaders(t)
	s = run(t, s, ClaimRecovery{Cluster: "shop", RecoveryKind: Failover, Finding: "DeadMaster", Old: a,
		ExpectEpoch: s.Clusters["shop"].Epoch, Leader: "ctl-1", At: noon})
	if table := s.Routes(s.Clusters["shop"]); table.Writer != nil || len(table.Readers) != 2 || table.Revision != 1 {
		t.Fatalf("withdrawn: %+v", table)
	}
	refused(t, s, SetReaders{Cluster: "shop", By: "ctl-1", ExpectEpoch: s.Clusters["shop"].Epoch, At: noon}, "is open")
	id := s.Clusters["shop"].Recovery
	s = run(t, s, ChooseWinner{Recovery: id, Winner: b, At: noon}, Announce{Recovery: id, At: noon})
	shop := s.Clusters["shop"]
	if got := readersOf(s); len(got) != 1 || keyOf(got[0]) != c || shop.Revision != 2 || shop.WriterSince() != 2 {
		t.Fatalf("announced: %+v", shop)
	}
	s = run(t, s, CloseRecovery{Recovery: id, Outcome: Completed, At: noon})
	// The old master came back as a replica, and is not trusted yet.
	refused(t, s, SetReaders{Cluster: "shop", Readers: []routes.Reader{reader(a)}, By: "ctl-1", ExpectEpoch: shop.Epoch, At: noon},
		"is deposed")
	s = run(t, s, SetReaders{Cluster: "shop", By: "ctl-1", ExpectEpoch: shop.Epoch, At: noon})
	if got := s.Clusters["shop"]; got.Revision != 3 || got.WriterSince() != 2 {
		t.Errorf("the writer's revision is not its own: %+v", got)
	}
}

func TestFallbackThroughAFailover(t *testing.T) {
	s := withReaders(t)
	epoch := s.Clusters["shop"].Epoch
	s = run(t, s, SetReaders{Cluster: "shop", Readers: []routes.Reader{reader(a)}, Fallback: true, By: "ctl-1",
		ExpectEpoch: epoch, At: noon})
	s = run(t, s, ClaimRecovery{Cluster: "shop", RecoveryKind: Failover, Finding: "DeadMaster", Old: a, ExpectEpoch: epoch,
		Leader: "ctl-1", At: noon})
	if got := readersOf(s); got != nil {
		t.Fatalf("withdrawn, and its readers are %v", got)
	}
	id := s.Clusters["shop"].Recovery
	s = run(t, s, ChooseWinner{Recovery: id, Winner: b, At: noon}, Announce{Recovery: id, At: noon})
	if got := readersOf(s); len(got) != 1 || keyOf(got[0]) != b {
		t.Errorf("announced, and its readers are %v", got)
	}
}

func TestReadersThatAreRefused(t *testing.T) {
	s := withReaders(t)
	epoch := s.Clusters["shop"].Epoch
	s = run(t, s, SetDetached{Server: c, From: a, By: "kim", Reason: "x", At: noon},
		AdoptMaster{Cluster: "blog", Master: topology.Key{Host: "blog-0", Port: 3306}, At: noon})
	blog := topology.Key{Host: "blog-0", Port: 3306}
	light := reader(b)
	light.Weight = 0
	for want, cmd := range map[string]SetReaders{
		"is unknown":         {Readers: []routes.Reader{reader(topology.Key{Host: "db-x", Port: 3306})}},
		"belongs to cluster": {Readers: []routes.Reader{reader(blog)}},
		"is detached":        {Readers: []routes.Reader{reader(c)}},
		"is the master":      {Readers: []routes.Reader{reader(a)}},
		"none beside others": {Readers: []routes.Reader{reader(a), reader(b)}, Fallback: true},
		"in order":           {Readers: []routes.Reader{reader(b), reader(b)}},
		"weight is 0":        {Readers: []routes.Reader{light}},
		"not 7.9":            {ExpectEpoch: routes.Epoch{Generation: 7, Number: 9}},
		"by is empty":        {},
	} {
		cmd.Cluster, cmd.At = "shop", noon
		if cmd.ExpectEpoch.IsZero() {
			cmd.ExpectEpoch = epoch
		}
		if want != "by is empty" {
			cmd.By = "ctl-1"
		}
		refused(t, s, cmd, want)
	}
}
