//go:build servers

package probe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCluster(
	t *testing.T, flavor stack.Flavor, replicas int, options stack.TopologyOptions,
) (context.Context, *stack.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	cluster, err := s.Topology(ctx, flavor, replicas, options)
	must(t, err)
	return ctx, cluster
}

func config() probe.Config {
	account := stack.ControllerAccount()
	return probe.Config{User: account.User, Password: func() string { return account.Password }}
}

func newProber(t *testing.T, cfg probe.Config) *probe.Prober {
	t.Helper()
	p := probe.New(cfg, nil)
	t.Cleanup(p.Close)
	return p
}

func key(t *testing.T, server *stack.Server) topology.Key {
	t.Helper()
	k, err := topology.ParseKey(server.Key())
	must(t, err)
	return k
}

func flavors(t *testing.T, test func(*testing.T, stack.Flavor)) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) { test(t, flavor) })
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, ctx context.Context, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func reach(t *testing.T, err error) topology.Reach {
	t.Helper()
	var e interface{ Reach() topology.Reach }
	if !errors.As(err, &e) {
		t.Fatalf("%v does not tell how the server was reached", err)
	}
	if strings.Contains(err.Error(), stack.ControllerAccount().Password) {
		t.Fatalf("the error shows the password: %v", err)
	}
	return e.Reach()
}

func TestProbeReadsEverything(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		semiSync := flavor != stack.MySQL56 // it comes without the plugins
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{SemiSync: semiSync})
		must(t, cluster.Master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"))
		must(t, stack.WaitCaughtUp(ctx, cluster.Replicas[0], cluster.Master))
		p := newProber(t, config())
		master, err := p.Probe(ctx, key(t, cluster.Master))
		must(t, err)
		var replica *topology.Instance
		eventually(t, ctx, func() error { // the position follows the commit
			replica, err = p.Probe(ctx, key(t, cluster.Replicas[0]))
			if err == nil && replica.Replication.AppliedTo != replica.Replication.ReceivedTo {
				err = fmt.Errorf("the applier's position lags: %+v", replica.Replication)
			}
			return err
		})
		checkMaster(t, flavor, cluster, master)
		checkReplica(t, flavor, cluster, master, replica)
		if semiSync {
			s := master.SemiSync
			if !s.Available || !s.SourceOn || !s.SourceEnabled || s.Clients != 1 || s.WaitCount != 1 || !s.AfterSync ||
				!s.WaitNoReplica || s.Timeout != time.Hour {
				t.Errorf("master's semi-sync: %+v", s)
			}
			if r := replica.SemiSync; !r.ReplicaOn || !r.ReplicaEnabled || r.SourceEnabled {
				t.Errorf("replica's semi-sync: %+v", r)
			}
		} else if master.SemiSync.Available {
			t.Errorf("semi-sync without plugins: %+v", master.SemiSync)
		}
		// An idle master sends heartbeats, and each shows.
		first := replica.Replication.Heartbeat
		eventually(t, ctx, func() error {
			now, err := p.Probe(ctx, key(t, cluster.Replicas[0]))
			if err == nil && (now.Replication.Heartbeat == first || now.Uptime <= 0) {
				err = fmt.Errorf("the heartbeat stays %q, or the uptime %v", first, now.Uptime)
			}
			return err
		})
	})
}

func checkMaster(t *testing.T, flavor stack.Flavor, cluster *stack.Cluster, i *topology.Instance) {
	t.Helper()
	if i.Address != key(t, cluster.Master) || i.ServerID != cluster.Master.ServerID() || i.ReadOnly || i.SuperReadOnly ||
		!i.LogBin || !i.LogReplicaUpdates || i.BinlogFormat != "ROW" || !i.GTIDMode || i.Executed.IsEmpty() ||
		i.ReportHost != cluster.Master.Host() || i.ReportPort != stack.MySQLPort || i.Hostname == "" ||
		i.Replication != nil || len(i.Problems) != 0 {
		t.Errorf("master: %+v", i)
	}
	if want := []topology.Key{key(t, cluster.Replicas[0])}; !slices.Equal(i.Replicas, want) {
		t.Errorf("replicas: got %v, want %v", i.Replicas, want)
	}
	if i.CanSuperReadOnly != (flavor == stack.MySQL) {
		t.Errorf("it can be super read-only: %v", i.CanSuperReadOnly)
	}
	if wantFlavor := gtid.MySQL; flavor != stack.MariaDB && (i.Flavor != wantFlavor || i.UUID == "") ||
		flavor == stack.MariaDB && (i.Flavor != gtid.MariaDB || i.UUID != "") {
		t.Errorf("flavor %v, uuid %q", i.Flavor, i.UUID)
	}
	versions := map[stack.Flavor]string{stack.MariaDB: "10.11.", stack.MySQL: "9.", stack.MySQL56: "5.6."}
	if !strings.HasPrefix(i.Version, versions[flavor]) {
		t.Errorf("version %q", i.Version)
	}
}

func checkReplica(t *testing.T, flavor stack.Flavor, cluster *stack.Cluster, master, i *topology.Instance) {
	t.Helper()
	r := i.Replication
	if r == nil {
		t.Fatalf("the replica replicates from nobody: %+v", i)
	}
	if r.Source != key(t, cluster.Master) || r.IO != topology.ThreadRunning || r.SQL != topology.ThreadRunning ||
		!r.UsesGTID || r.Received.IsEmpty() || r.ReceivedTo == "" || r.Lag == nil ||
		r.HeartbeatPeriod != 500*time.Millisecond || r.IOErrno != 0 || r.SQLErrno != 0 || r.Delay != 0 {
		t.Errorf("replication: %+v", r)
	}
	if r.SourceUUID != master.UUID {
		t.Errorf("source uuid %q, want %q", r.SourceUUID, master.UUID)
	}
	if !i.ReadOnly || len(i.Replicas) != 0 || len(i.Problems) != 0 {
		t.Errorf("replica: %+v", i)
	}
	if !i.Executed.Contains(master.Executed) || !i.Received().Contains(master.Executed) {
		t.Errorf("replica has %s, the master %s", i.Executed, master.Executed)
	}
	if tls := flavor == stack.MySQL; r.TLS != tls {
		t.Errorf("TLS of the receiver: %v, want %v", r.TLS, tls)
	}
}

func TestReplicaWithoutReportHost(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{Options: map[string]string{"report_host": ""}})
		i, err := newProber(t, config()).Probe(ctx, key(t, cluster.Master))
		must(t, err)
		// On loopback a dump thread's client address is not the replica's own.
		if want := []topology.Key{{Host: "127.0.0.1", Port: stack.MySQLPort}}; !slices.Equal(i.Replicas, want) {
			t.Errorf("replicas: got %v, want %v; problems %v", i.Replicas, want, i.Problems)
		}
	})
}

func TestOperatorQueries(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		cfg := config()
		cfg.LagQuery, cfg.DataCenterQuery = "SELECT 1.5;", "SELECT 'dc1' -- where"
		cfg.RegionQuery, cfg.ClusterNameQuery = "SELECT 'eu; west'", "SELECT CONCAT('orders', '-', @@server_id)"
		i, err := newProber(t, cfg).Probe(ctx, key(t, cluster.Replicas[0]))
		must(t, err)
		if i.DataCenter != "dc1" || i.Region != "eu; west" || i.ClusterHint != "orders-2" || len(i.Problems) != 0 ||
			i.Replication.Lag == nil || *i.Replication.Lag != 1500*time.Millisecond {
			t.Errorf("got %+v, replication %+v", i, i.Replication)
		}

		cfg.LagQuery, cfg.DataCenterQuery = "SELECT 'long'", "SELECT dc FROM nowhere.at_all"
		cfg.ClusterNameQuery = "SELECT 'a' UNION SELECT 'b'"
		i, err = newProber(t, cfg).Probe(ctx, key(t, cluster.Replicas[0]))
		must(t, err)
		if i.Region != "eu; west" || i.DataCenter != "" || i.ClusterHint != "" || len(i.Problems) != 3 {
			t.Errorf("got %+v", i)
		}
		wants := []string{"lag query is of no use", "data center query failed", "cluster name query returned more"}
		for n, part := range wants {
			if n >= len(i.Problems) || !strings.Contains(i.Problems[n], part) {
				t.Errorf("problems %q lack %q", i.Problems, part)
			}
		}

		// A query that hangs costs neither the probe nor the next one.
		cfg.LagQuery, cfg.DataCenterQuery, cfg.ClusterNameQuery = "SELECT SLEEP(60)", "", ""
		p := newProber(t, cfg)
		for range 2 {
			short, cancel := context.WithTimeout(ctx, time.Second)
			i, err = p.Probe(short, key(t, cluster.Replicas[0]))
			cancel()
			must(t, err)
			if len(i.Problems) == 0 || !strings.Contains(i.Problems[0], "lag query failed") {
				t.Errorf("problems: %q", i.Problems)
			}
		}
	})
}

func TestFewGrants(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		grant := "REPLICATION CLIENT"
		if flavor == stack.MariaDB {
			grant = "REPLICA MONITOR"
		}
		must(t, cluster.Master.Exec(ctx, "CREATE USER 'few'@'%' IDENTIFIED BY 'few'", "GRANT "+grant+" ON *.* TO 'few'@'%'"))
		p := newProber(t, probe.Config{User: "few", Password: func() string { return "few" }})
		for range 2 { // what was refused once is not asked again
			i, err := p.Probe(ctx, key(t, cluster.Master))
			must(t, err)
			if i.ServerID != 1 || len(i.Problems) == 0 || !strings.Contains(i.Problems[0], "replicas (grant REPLICATION ") {
				t.Errorf("got %+v", i)
			}
		}
		must(t, cluster.Master.Exec(ctx, "REVOKE "+grant+" ON *.* FROM 'few'@'%'"))
		_, err := p.ProbeFresh(ctx, key(t, cluster.Master))
		if got := reach(t, err); got != topology.ReachDenied {
			t.Errorf("without the grant for the status: %s, %v", got, err)
		}
	})
}

// TestAFailureThatPassesIsAskedAgain: a question that failed for another reason
// than a missing grant is asked again by the next probe, on the same connection.
func TestAFailureThatPassesIsAskedAgain(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		master, account := cluster.Master, stack.ControllerAccount()
		// Two statements greet, and four are asked that no probe can do without.
		limit := func(n int) string { return fmt.Sprintf("WITH MAX_QUERIES_PER_HOUR %d", n) }
		user := fmt.Sprintf("'%s'@'%%'", account.User)
		if flavor == stack.MySQL {
			must(t, master.Exec(ctx, "ALTER USER "+user+" "+limit(6)))
		} else {
			must(t, master.Exec(ctx, "GRANT USAGE ON *.* TO "+user+" "+limit(6)))
		}
		p := newProber(t, config())
		i, err := p.Probe(ctx, key(t, master))
		must(t, err)
		if i.ServerID != master.ServerID() || len(i.Replicas) != 0 {
			t.Fatalf("the server was to refuse to tell its replicas: %+v", i)
		}
		connections := "SELECT GROUP_CONCAT(ID) FROM information_schema.PROCESSLIST WHERE USER = '" + account.User + "'"
		before, err := master.Value(ctx, connections)
		must(t, err)
		must(t, master.Exec(ctx, "FLUSH USER_RESOURCES"))
		i, err = p.Probe(ctx, key(t, master))
		must(t, err)
		if want := []topology.Key{key(t, cluster.Replicas[0])}; !slices.Equal(i.Replicas, want) {
			t.Errorf("replicas: got %v, want %v", i.Replicas, want)
		}
		if after, err := master.Value(ctx, connections); err != nil || after != before || after == "" {
			t.Errorf("connections %q, then %q (%v): want the same one", before, after, err)
		}
	})
}
