//go:build servers

package scenarios_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// All controllers lose their disks, and are restored from a backup that does not know
// the last switchover: nothing flips, and they say what they wait for. Once a person
// has said who the master is, they go on.
func TestRestoreOfAnOlderLedger(t *testing.T) {
	ctx, s := startSite(t, site.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.WaitRouted(ctx))
	backup := filepath.Join(t.TempDir(), "ledger.backup")
	program(t, ctx, s, "", "backup", "--api", s.Controllers[1].URL, "--out", backup)
	old, next := s.DB.Master, s.DB.Replicas[0]
	_, err := switchover(ctx, s, next)
	must(err)
	must(s.WaitRouted(ctx))
	consulNames(t, ctx, s, next)
	before, err := s.Cluster(ctx)
	must(err)

	restoreAll(t, ctx, s, backup)
	until(t, ctx, time.Minute, "the cluster is held", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err == nil && !strings.Contains(strings.Join(status.Problems, "\n"), "its master was "+old.Key()+", not "+next.Key()) {
			err = fmt.Errorf("%q", status.Problems)
		}
		return err
	})
	// Nobody is moved while it is held: a new connection finds the same master.
	served := servedBy(t, s)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if id, err := served(ctx); err != nil || id != fmt.Sprint(next.ServerID()) {
			t.Fatalf("the proxy leads to server %s: %v", id, err)
		}
		if name, err := s.Consul.Get(ctx, "mysql/master/"+site.ClusterName); err != nil || name != next.Key() {
			t.Fatalf("Consul names %s: %v", name, err)
		}
		for server, want := range map[*stack.Server]string{next: "0", old: "1"} {
			if value, err := server.Value(ctx, "SELECT @@global.read_only"); err != nil || value != want {
				t.Fatalf("read_only of %s is %s: %v", server.Key(), value, err)
			}
		}
	}
	client, err := s.Client(20 * time.Second)
	must(err)
	var done wire.Done
	if err := client.Post(ctx, wire.PathAdopt, map[string]string{"cluster": site.ClusterName, "master": old.Key(), "reason": "a slip"}, &done); err == nil {
		t.Error("a server that takes no writes was adopted")
	}
	program(t, ctx, s, "", "adopt", site.ClusterName, "--master", next.Key(), "--reason", "it takes the writes", "--api", s.Controllers[0].URL)
	must(s.WaitRouted(ctx))
	consulNames(t, ctx, s, next)
	if after, err := s.Cluster(ctx); err != nil || after.Epoch.Compare(before.Epoch) <= 0 || after.Epoch.Generation == before.Epoch.Generation {
		t.Errorf("%v: epoch %s after %s", err, after.Epoch, before.Epoch)
	}
	follows(t, ctx, old, next)
	// The old master is deposed until it was compared; then it can be the master again.
	_, err = switchover(ctx, s, old)
	must(err)
}

// servedBy asks through the proxy who serves writes.
func servedBy(t *testing.T, s *site.Site) func(context.Context) (string, error) {
	t.Helper()
	account := stack.AppAccount()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = account.User, account.Password, "tcp", s.Proxies[0].Listen
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (id string, err error) {
		db := sql.OpenDB(connector)
		defer db.Close()
		err = db.QueryRowContext(ctx, "SELECT @@server_id").Scan(&id)
		return id, err
	}
}

// A backup that knows all is gone on from unasked; and one whose master is the same,
// where Consul has heard of a later epoch, is not.
func TestRestoreOfACurrentLedger(t *testing.T) {
	ctx, s := startSite(t, site.Options{})
	if err := s.WaitRouted(ctx); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "ledger.backup")
	program(t, ctx, s, "", "backup", "--api", s.Controllers[2].URL, "--out", backup)
	before, err := s.Cluster(ctx)
	if err != nil {
		t.Fatal(err)
	}
	restoreAll(t, ctx, s, backup)
	if err := s.WaitRouted(ctx); err != nil {
		t.Fatal(err)
	}
	consulNames(t, ctx, s, s.DB.Master)
	after, err := s.Cluster(ctx)
	if err != nil || after.Epoch.Generation <= before.Epoch.Generation || after.Master != before.Master {
		t.Fatalf("%v: %+v after %+v", err, after, before)
	}
	// Consul has the epoch of the restored ledger now, which the backup does not know.
	restoreAll(t, ctx, s, backup)
	until(t, ctx, time.Minute, "the cluster is held", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if problems := strings.Join(status.Problems, "\n"); err == nil &&
			!strings.Contains(problems, "epoch "+after.Epoch.String()+" is held already, which is higher than the "+before.Epoch.String()) {
			err = fmt.Errorf("%q", problems)
		}
		return err
	})
}

// restoreAll has all controllers lose what they have, and begin anew from a backup.
func restoreAll(t *testing.T, ctx context.Context, s *site.Site, backup string) {
	t.Helper()
	for _, c := range s.Controllers {
		if err := c.Process.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(c.Process.Dir(), "data")); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"restore", "--config", "switchyard.yaml", "--from", backup}
	for _, c := range s.Controllers {
		out := program(t, ctx, s, c.Process.Dir(), args...)
		if _, generation, ok := strings.Cut(out, "--generation "); ok && len(args) == 5 {
			args = append(args, "--generation", strings.Fields(generation)[0])
		}
	}
	for _, c := range s.Controllers {
		if err := c.Process.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// program runs switchyard in a directory, and returns what it printed.
func program(t *testing.T, ctx context.Context, s *site.Site, dir string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(ctx, s.Binary(), args...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}
