//go:build servers

package verbs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/verbs"
)

// delay makes the replica apply an hour late.
func delay(t *testing.T, ctx context.Context, replica *stack.Server) {
	t.Helper()
	switch replica.Flavor() {
	case stack.MySQL:
		must(t, replica.Exec(ctx, "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600", "START REPLICA"))
	default:
		must(t, replica.Exec(ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 3600", "START SLAVE"))
	}
}

// received waits until the replica has all that the master wrote, applied or not.
func received(t *testing.T, ctx context.Context, replica, master *stack.Server) gtid.Set {
	t.Helper()
	all := look(t, ctx, master).Executed
	eventually(t, ctx, func() error {
		if !look(t, ctx, replica).Received().Contains(all) {
			return errors.New("it has not received all")
		}
		return nil
	})
	return all
}

// TestUndelay: what a delayed replica received is applied at once, although
// nobody can send it again, with the receiver running and with it stopped.
func TestUndelay(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		for _, first := range []string{"nothing", "the receiver stopped", "both stopped"} {
			t.Run("after "+first, func(t *testing.T) {
				ctx, cluster := newCluster(t, flavor, 2, stack.TopologyOptions{})
				replica, other := cluster.Replicas[0], cluster.Replicas[1]
				delay(t, ctx, replica)
				for i := range 50 {
					must(t, cluster.Master.Exec(ctx, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1)", 100+i)))
				}
				all := received(t, ctx, replica, cluster.Master)
				must(t, stack.WaitCaughtUp(ctx, other, cluster.Master))
				if got := value(t, ctx, replica, "SELECT COUNT(*) FROM app.t"); got != "1" {
					t.Fatalf("it does not delay: %s rows", got)
				}
				must(t, cluster.Master.Kill())
				s := open(t, ctx, replica)
				switch first {
				case "the receiver stopped":
					must(t, s.StopReceiver(ctx))
				case "both stopped":
					if flavor == stack.MySQL {
						must(t, replica.Exec(ctx, "STOP REPLICA"))
					} else {
						must(t, replica.Exec(ctx, "STOP SLAVE"))
					}
				}
				twice(t, "undelay", func() error { return s.Undelay(ctx) })
				must(t, s.WaitApplied(ctx, all))
				if got := value(t, ctx, replica, "SELECT COUNT(*) FROM app.t"); got != "51" {
					t.Errorf("it has %s rows, want 51", got)
				}
				r := look(t, ctx, replica).Replication
				if r.Delay != 0 || r.SQL != topology.ThreadRunning {
					t.Errorf("after: %+v", r)
				}
				// Pointed again, it replicates by GTID as before.
				must(t, other.SetReadOnly(ctx, false))
				must(t, s.Repoint(ctx, key(t, other), gtid.Set{}))
				must(t, other.Exec(ctx, "STOP "+word(flavor), "INSERT INTO app.t VALUES (999, 1)"))
				must(t, s.WaitApplied(ctx, look(t, ctx, other).Executed))
				if r := look(t, ctx, replica).Replication; !r.UsesGTID || r.Delay != 0 {
					t.Errorf("after it was pointed again: %+v", r)
				}
			})
		}
	})
}

func word(flavor stack.Flavor) string {
	if flavor == stack.MySQL {
		return "REPLICA"
	}
	return "SLAVE"
}

func TestUndelayRefuses(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		wantIs(t, open(t, ctx, cluster.Master).Undelay(ctx), verbs.ErrNotReplica)
		if flavor != stack.MariaDB {
			return
		}
		replica := cluster.Replicas[0]
		must(t, replica.Exec(ctx, "STOP SLAVE", "SET GLOBAL slave_parallel_threads = 4",
			"CHANGE MASTER TO MASTER_DELAY = 3600", "START SLAVE"))
		must(t, cluster.Master.Exec(ctx, "SET SESSION gtid_domain_id = 7", "INSERT INTO app.t VALUES (5, 0)"))
		received(t, ctx, replica, cluster.Master)
		wantIs(t, open(t, ctx, replica).Undelay(ctx), verbs.ErrParallelDomains)
		if r := look(t, ctx, replica).Replication; r.IO != topology.ThreadRunning || r.SQL != topology.ThreadRunning || r.Delay != time.Hour {
			t.Errorf("the refusal changed the replica: %+v", r)
		}
	})
}

func TestRestartReceiver(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		wantIs(t, open(t, ctx, cluster.Master).RestartReceiver(ctx), verbs.ErrNotReplica)
		s := open(t, ctx, replica)
		before := dumps(t, ctx, cluster.Master)
		if flavor == stack.MariaDB {
			wantIs(t, s.RestartReceiver(ctx), verbs.ErrGTIDReceiver)
			if after := dumps(t, ctx, cluster.Master); after != before {
				t.Errorf("the refusal reconnected: dump threads %s, then %s", before, after)
			}
			return
		}
		must(t, s.RestartReceiver(ctx))
		eventually(t, ctx, func() error {
			if after := dumps(t, ctx, cluster.Master); after == before || after == "" {
				return fmt.Errorf("dump threads %q, then %q", before, after)
			}
			return nil
		})
		must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (6, 0)"))
		must(t, s.WaitApplied(ctx, look(t, ctx, cluster.Master).Executed))
		must(t, s.StopReceiver(ctx))
		must(t, s.RestartReceiver(ctx))
		if r := look(t, ctx, replica).Replication; r.IO != topology.ThreadStopped {
			t.Errorf("a receiver that was stopped on purpose was started: %+v", r)
		}
	})
}

// TestChannelsAreRefused: nothing is changed on a server that replicates on a
// named channel, beside the default one or instead of it.
func TestChannelsAreRefused(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		if flavor == stack.MySQL56 {
			return // it has one channel
		}
		ctx, cluster := newCluster(t, flavor, 2, stack.TopologyOptions{})
		account := stack.ReplicationAccount()
		multi, named := cluster.Replicas[0], cluster.Replicas[1]
		add := fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '%s', SOURCE_USER = '%s', SOURCE_PASSWORD = '%s', "+
			"SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1 FOR CHANNEL 'east'", cluster.Master.Host(), account.User, account.Password)
		drop := []string{"STOP REPLICA", "RESET REPLICA ALL FOR CHANNEL ''"}
		if flavor == stack.MariaDB {
			add = fmt.Sprintf("CHANGE MASTER 'east' TO MASTER_HOST = '%s', MASTER_USER = '%s', MASTER_PASSWORD = '%s', "+
				"MASTER_USE_GTID = slave_pos", cluster.Master.Host(), account.User, account.Password)
			drop = []string{"STOP SLAVE", "RESET SLAVE ALL"}
		}
		must(t, multi.Exec(ctx, add))
		must(t, named.Exec(ctx, append(drop, add)...))
		for _, server := range []*stack.Server{multi, named} {
			s := open(t, ctx, server)
			for name, verb := range map[string]func() error{
				"Detach":          func() error { return s.Detach(ctx) },
				"Repoint":         func() error { return s.Repoint(ctx, key(t, cluster.Master), gtid.Set{}) },
				"StopReceiver":    func() error { return s.StopReceiver(ctx) },
				"StartReplica":    func() error { return s.StartReplica(ctx) },
				"Undelay":         func() error { return s.Undelay(ctx) },
				"RestartReceiver": func() error { return s.RestartReceiver(ctx) },
			} {
				if err := verb(); !errors.Is(err, verbs.ErrChannels) {
					t.Errorf("%s on %s: got %v, want %v", name, server.Name(), err, verbs.ErrChannels)
				}
			}
		}
		if r := look(t, ctx, multi).Replication; r.IO != topology.ThreadRunning || r.SQL != topology.ThreadRunning {
			t.Errorf("the refusals changed the default channel: %+v", r)
		}
	})
}
