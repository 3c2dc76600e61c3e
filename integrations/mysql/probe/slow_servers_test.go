//go:build servers

package probe_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
)

// TestBoots: what the option file says of read_only is told, and remembered when
// a value set at run time hides it.
func TestBoots(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		want := map[string]topology.Boots{"ON": topology.BootsReadOnly, "OFF": topology.BootsWritable}
		if flavor == stack.MySQL56 {
			want = map[string]topology.Boots{"ON": "", "OFF": ""} // it does not say
		}
		for setting, boots := range want {
			ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{Options: map[string]string{"read_only": setting}})
			server := cluster.Master
			must(t, server.Restart(ctx))
			p := newProber(t, config())
			for range 2 {
				i, err := p.Probe(ctx, key(t, server))
				must(t, err)
				if i.Boots != boots {
					t.Errorf("read_only = %s: it boots %q, want %q", setting, i.Boots, boots)
				}
				must(t, server.SetReadOnly(ctx, setting == "OFF"))
			}
			// Who did not look before cannot tell; it does not guess.
			i, err := newProber(t, config()).Probe(ctx, key(t, server))
			must(t, err)
			if i.Boots != "" {
				t.Errorf("set at run time: it boots %q", i.Boots)
			}
			if flavor == stack.MySQL && setting == "OFF" {
				must(t, server.Exec(ctx, "SET PERSIST_ONLY super_read_only = ON"))
				i, err := newProber(t, config()).Probe(ctx, key(t, server))
				must(t, err)
				if i.Boots != topology.BootsReadOnly {
					t.Errorf("persisted: it boots %q", i.Boots)
				}
			}
		}
	})
}

func TestFencePassers(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		master := cluster.Master
		user := func(name string, grants ...string) {
			t.Helper()
			must(t, master.Exec(ctx, fmt.Sprintf("CREATE USER '%s'@'10.%%' IDENTIFIED BY 'x'", name)))
			for _, grant := range grants {
				must(t, master.Exec(ctx, fmt.Sprintf("GRANT %s TO '%s'@'10.%%'", grant, name)))
			}
		}
		pass := map[stack.Flavor]string{
			stack.MariaDB: "READ_ONLY ADMIN", stack.MySQL: "CONNECTION_ADMIN", stack.MySQL56: "SUPER",
		}[flavor]
		user("all", "ALL PRIVILEGES ON *.*")
		user("schema", pass+" ON *.*", "INSERT ON app.*")
		user("writes", "INSERT, UPDATE, DELETE ON *.*")
		user("reads", pass+" ON *.*", "SELECT ON app.*")
		want := []string{"all@10.%", "schema@10.%"}
		if flavor != stack.MySQL56 {
			must(t, master.Exec(ctx, "CREATE ROLE boss", "GRANT "+pass+" ON *.* TO boss"))
			user("hired", "INSERT ON app.*")
			must(t, master.Exec(ctx, "GRANT boss TO 'hired'@'10.%'"))
			want = []string{"all@10.%", "hired@10.%", "schema@10.%"}
		}
		i, err := newProber(t, config()).Probe(ctx, key(t, master))
		must(t, err)
		if !slices.Equal(i.FencePassers, want) {
			t.Errorf("got %q, want %q; problems %q", i.FencePassers, want, i.Problems)
		}
		// Who may not read the grants says so, and does not claim that all is well.
		must(t, master.Exec(ctx, "REVOKE SELECT ON mysql.* FROM 'switchyard'@'%'"))
		i, err = newProber(t, config()).Probe(ctx, key(t, master))
		must(t, err)
		if len(i.Problems) == 0 || !strings.Contains(i.Problems[0], "grants (grant SELECT on mysql.*)") {
			t.Errorf("problems %q", i.Problems)
		}
	})
}

func TestFiltersWorkersAndRetries(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		workers := map[stack.Flavor]string{
			stack.MariaDB: "slave_parallel_threads", stack.MySQL: "replica_parallel_workers", stack.MySQL56: "slave_parallel_workers",
		}[flavor]
		options := map[string]string{"replicate_wild_ignore_table": "zz.%", workers: "3"}
		if flavor == stack.MySQL {
			options["replica_preserve_commit_order"] = "OFF"
		}
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{Options: options})
		p := newProber(t, config())
		replica, err := p.Probe(ctx, key(t, cluster.Replicas[0]))
		must(t, err)
		master, err := p.Probe(ctx, key(t, cluster.Master))
		must(t, err)
		if replica.Filters != "wild_ignore_table=zz.%" || replica.Workers != 3 || replica.KeepsOrder != (flavor == stack.MariaDB) {
			t.Errorf("filters %q, %d workers, order kept: %v", replica.Filters, replica.Workers, replica.KeepsOrder)
		}
		if flavor != stack.MySQL56 && master.Filters != replica.Filters {
			t.Errorf("the master has the filters %q, its replica %q", master.Filters, replica.Filters)
		}
		if retries := replica.Replication.RetryCount; flavor != stack.MariaDB && retries != 86400 || retries < 0 {
			t.Errorf("it gives up after %d attempts", retries)
		}
		t.Logf("%s: gives up after %d attempts", flavor, replica.Replication.RetryCount)
		if len(replica.Unsupported) != 0 || len(master.Unsupported) != 0 {
			t.Errorf("unsupported: %q, %q", master.Unsupported, replica.Unsupported)
		}
	})
}

// TestPositionMovesWithCommits: and with nothing else.
func TestPositionMovesWithCommits(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		p := newProber(t, config())
		position := func() string {
			t.Helper()
			i, err := p.Probe(ctx, key(t, cluster.Master))
			must(t, err)
			return i.BinlogPosition
		}
		first := position()
		if again := position(); first == "" || again != first {
			t.Errorf("it stands at %q, then %q", first, again)
		}
		must(t, cluster.Master.Exec(ctx, "CREATE TABLE app.p (id INT PRIMARY KEY)", "INSERT INTO app.p VALUES (1)"))
		if moved := position(); moved == first {
			t.Errorf("it stays at %q", moved)
		}
	})
}

// TestLockedSemiSyncIsSeen: a probe is answered while commits wait for an
// acknowledgement that does not come, tells that they do, and that the log stands.
func TestLockedSemiSyncIsSeen(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{SemiSync: true})
			p := newProber(t, config())
			must(t, cluster.Master.Exec(ctx, "CREATE TABLE app.p (id INT PRIMARY KEY)"))
			must(t, cluster.Replicas[0].Kill())
			eventually(t, ctx, func() error {
				i, err := p.Probe(ctx, key(t, cluster.Master))
				if err == nil && i.SemiSync.Clients > 0 {
					err = fmt.Errorf("it counts %d clients", i.SemiSync.Clients)
				}
				return err
			})
			before, err := p.Probe(ctx, key(t, cluster.Master))
			must(t, err)
			for n := range 3 {
				go func() { _ = cluster.Master.Exec(ctx, fmt.Sprintf("INSERT INTO app.p VALUES (%d)", n)) }()
			}
			eventually(t, ctx, func() error {
				i, err := p.Probe(ctx, key(t, cluster.Master))
				if err == nil && (i.SemiSync.Waiting == 0 || i.BinlogPosition != before.BinlogPosition) {
					err = fmt.Errorf("%d wait, the log is at %s", i.SemiSync.Waiting, i.BinlogPosition)
				}
				return err
			})
			must(t, cluster.Master.Kill())
		})
	}
}
