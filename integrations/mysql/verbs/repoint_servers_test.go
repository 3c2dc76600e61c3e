//go:build servers

package verbs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
	"switchyard/integrations/mysql/verbs"
)

// receiving waits until the replica's receiver is connected.
func receiving(t *testing.T, ctx context.Context, replica *stack.Server) *topology.Replication {
	t.Helper()
	var r *topology.Replication
	eventually(t, ctx, func() error {
		if r = look(t, ctx, replica).Replication; r == nil || r.IO != topology.ThreadRunning {
			return fmt.Errorf("not connected: %+v", r)
		}
		return nil
	})
	return r
}

func repoint(t *testing.T, ctx context.Context, cfg verbs.Config, replica, source *stack.Server) {
	t.Helper()
	s, err := verbs.New(cfg, nil).Open(ctx, key(t, replica))
	must(t, err)
	must(t, s.Repoint(ctx, key(t, source), gtid.Set{}))
	must(t, s.Close())
}

// TestRepointFetchesAgainWhatWasDropped: a replica that received and could not
// apply gets the rest from its new source.
func TestRepointFetchesAgainWhatWasDropped(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 2, stack.TopologyOptions{})
		lagging, source := cluster.Replicas[0], cluster.Replicas[1]
		release := lag(t, ctx, cluster)
		all := look(t, ctx, cluster.Master).Executed
		must(t, stack.WaitCaughtUp(ctx, source, cluster.Master))
		must(t, cluster.Master.Kill())
		s := open(t, ctx, lagging)
		repointed := make(chan error, 1)
		go func() { repointed <- s.Repoint(ctx, key(t, source), all) }()
		release() // STOP waits for the statement that waits for the row
		must(t, <-repointed)
		must(t, s.WaitApplied(ctx, all))
		if got := value(t, ctx, lagging, "SELECT SUM(v) + COUNT(*) FROM app.t"); got != "7" {
			t.Errorf("checksum %s, want 7", got)
		}
	})
}

// TestBothThreadsStopped: on MariaDB starting anything would drop what such a
// replica received; elsewhere its applier is started.
func TestBothThreadsStopped(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		release := lag(t, ctx, cluster)
		stop := map[stack.Flavor]string{stack.MySQL: "STOP REPLICA"}[flavor]
		if stop == "" {
			stop = "STOP SLAVE"
		}
		must(t, replica.Exec(ctx, stop+" IO_THREAD"))
		stopped := make(chan error, 1)
		go func() { stopped <- replica.Exec(ctx, stop) }()
		waitValue(t, ctx, replica, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = '"+stop+"'", "1")
		release()
		must(t, <-stopped)
		before := look(t, ctx, replica)
		must(t, open(t, ctx, replica).StopReceiver(ctx))
		after := look(t, ctx, replica).Replication
		if flavor == stack.MariaDB {
			if after.SQL != topology.ThreadStopped || after.Received.String() != before.Replication.Received.String() {
				t.Errorf("a replica with both threads stopped was touched: %+v", after)
			}
			return
		}
		if after.SQL != topology.ThreadRunning || after.IO != topology.ThreadStopped {
			t.Errorf("the applier was not started: %+v", after)
		}
		must(t, open(t, ctx, replica).WaitApplied(ctx, before.Received()))
	})
}

func TestRepointKeepsOddPasswords(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		const user, password = `o'd\d"`, `p'a\s"s;-- #`
		quoted := func(text string) string {
			q, err := dialect.Quote("test", text)
			must(t, err)
			return q
		}
		must(t, cluster.Master.Exec(ctx, "CREATE USER "+quoted(user)+"@'%' IDENTIFIED BY "+quoted(password),
			"GRANT REPLICATION SLAVE ON *.* TO "+quoted(user)+"@'%'"))
		cfg := config()
		cfg.Replication.User, cfg.Replication.Password = user, func() string { return password }
		repoint(t, ctx, cfg, cluster.Replicas[0], cluster.Master)
		receiving(t, ctx, cluster.Replicas[0])
	})
}

func TestReplicationTLS(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MySQL, 1, stack.TopologyOptions{}) // it makes its own certificates
	replica := cluster.Replicas[0]
	cfg := config()
	for _, step := range []struct {
		mode dialect.TLSMode
		want bool
	}{{dialect.TLSOff, false}, {dialect.TLSKeep, false}, {dialect.TLSRequired, true}, {dialect.TLSKeep, true}} {
		cfg.Replication.TLS = step.mode
		cfg.Replication.HeartbeatPeriod += 100 * time.Millisecond // a reason to do it again
		repoint(t, ctx, cfg, replica, cluster.Master)
		if r := receiving(t, ctx, replica); r.TLS != step.want {
			t.Errorf("mode %q: TLS %v, want %v", step.mode, r.TLS, step.want)
		}
	}
	before := dumps(t, ctx, cluster.Master)
	cfg.Replication.TLS = dialect.TLSRequired
	repoint(t, ctx, cfg, replica, cluster.Master)
	if after := dumps(t, ctx, cluster.Master); after != before {
		t.Errorf("with the same options: dump threads %s, then %s", before, after)
	}
}

// TestQuote lets the servers read what Quote writes, in both of their modes.
func TestQuote(t *testing.T) {
	letters := []string{"'", `\`, `"`, ";", "-- ", "#", "/*", "a", "%", "é", "☃", "n", "0", "\t", "`", "''", `\'`}
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		account := stack.ControllerAccount()
		conn, err := link.Dial(ctx, link.Config{User: account.User, Password: func() string { return account.Password }},
			key(t, cluster.Master))
		must(t, err)
		defer conn.Close()
		random := rand.New(rand.NewPCG(1, 2))
		for _, mode := range []string{"", "NO_BACKSLASH_ESCAPES"} {
			must(t, conn.Exec(ctx, "SET SESSION sql_mode = '"+mode+"'"))
			for range 300 {
				var text string
				for range random.IntN(8) {
					text += letters[random.IntN(len(letters))]
				}
				quoted, err := dialect.Quote("text", text)
				must(t, err)
				sets, err := conn.Query(ctx, "SELECT "+quoted+" AS v, 1 AS one")
				must(t, err)
				want := text
				if mode != "" {
					want = strings.ReplaceAll(text, `\`, `\\`)
				}
				if len(sets) != 1 || len(sets[0]) != 1 || len(sets[0][0]) != 2 || sets[0][0]["v"] != want {
					t.Fatalf("mode %q: %s reads as %v, want %q", mode, quoted, sets, want)
				}
			}
		}
	})
}
