//go:build servers

package verbs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/verbs"
)

// blockedThenFree holds that read-only gives up behind a lock in good time,
// leaves the server as it was, and takes once the lock is gone.
func blockedThenFree(t *testing.T, ctx context.Context, server *stack.Server, free func(*verbs.Session)) {
	t.Helper()
	s := open(t, ctx, server)
	for range 2 { // the session lives on
		begun := time.Now()
		err := s.SetReadOnly(ctx)
		took := time.Since(begun)
		wantIs(t, err, verbs.ErrBlocked)
		t.Logf("gave up after %v: %v", took, err)
		if took > time.Minute {
			t.Errorf("it took %v to give up", took)
		}
	}
	if i := look(t, ctx, server); i.ReadOnly || i.SuperReadOnly {
		t.Errorf("called off, and yet read-only: %v, super %v", i.ReadOnly, i.SuperReadOnly)
	}
	free(s)
	must(t, s.SetReadOnly(ctx))
	if !look(t, ctx, server).ReadOnly {
		t.Error("not read-only")
	}
}

func TestReadOnlyBehindALock(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		conn, err := cluster.Master.Root().Conn(ctx)
		must(t, err)
		_, err = conn.ExecContext(ctx, "LOCK TABLES app.t WRITE")
		must(t, err)
		blockedThenFree(t, ctx, cluster.Master, func(*verbs.Session) {
			_, err := conn.ExecContext(ctx, "UNLOCK TABLES")
			must(t, err)
			must(t, conn.Close())
		})
	})
}

func TestReadOnlyBehindALongWrite(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		written := make(chan error, 1)
		conn := client(t, ctx, cluster.Master, stack.AppAccount())
		go func() {
			_, err := conn.ExecContext(ctx, "INSERT INTO app.t SELECT 7, SLEEP(60)")
			written <- err
		}()
		waitValue(t, ctx, cluster.Master,
			"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO app.t SELECT 7%'", "1")
		blockedThenFree(t, ctx, cluster.Master, func(s *verbs.Session) {
			ended, left, err := s.EndClients(ctx)
			must(t, err)
			if ended < 1 || left != 0 { // root's connections may take a moment to go
				t.Errorf("ended %d, left %d", ended, left)
			}
			if err := <-written; err == nil {
				t.Error("the write succeeded")
			}
		})
	})
}

func TestReadOnlyBehindASemiSyncCommit(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} { // 5.6 comes without the plugins
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{SemiSync: true})
			must(t, cluster.Replicas[0].Freeze())
			conn := client(t, ctx, cluster.Master, stack.AppAccount())
			written := make(chan error, 1)
			go func() {
				_, err := conn.ExecContext(ctx, "INSERT INTO app.t VALUES (7, 0)")
				written <- err
			}()
			waitValue(t, ctx, cluster.Master,
				"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO app.t VALUES (7%'"+
					" AND STATE LIKE '%semi-sync ACK%'", "1")
			blockedThenFree(t, ctx, cluster.Master, func(*verbs.Session) {
				must(t, cluster.Replicas[0].Thaw())
				must(t, <-written)
			})
		})
	}
}

func TestEndClients(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		master := cluster.Master
		must(t, master.Exec(ctx, "CREATE USER 'watcher'@'%' IDENTIFIED BY 'w'", "GRANT USAGE ON *.* TO 'watcher'@'%'"))
		watcher := client(t, ctx, master, stack.Account{User: "watcher", Password: "w"})
		idle, busy := client(t, ctx, master, stack.AppAccount()), client(t, ctx, master, stack.AppAccount())
		asleep := make(chan error, 1)
		go func() {
			_, err := busy.ExecContext(ctx, "DO SLEEP(60)")
			asleep <- err
		}()
		waitValue(t, ctx, master, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'DO SLEEP%'", "1")
		before := dumps(t, ctx, master)

		cfg := config()
		cfg.KeepUsers = []string{"watcher", "root"} // root's take a moment to go after they were closed
		s, err := verbs.New(cfg, nil).Open(ctx, key(t, master))
		must(t, err)
		ended, left, err := s.EndClients(ctx)
		must(t, err)
		if ended != 2 || left != 0 {
			t.Errorf("ended %d, left %d; want 2, 0", ended, left)
		}
		if err := <-asleep; err == nil {
			t.Error("the busy client was not cut")
		}
		if err := idle.PingContext(ctx); err == nil {
			t.Error("the idle client was not cut")
		}
		must(t, watcher.PingContext(ctx))
		if after := dumps(t, ctx, master); after != before || after == "" {
			t.Errorf("dump threads: %q, then %q", before, after)
		}
		if ended, left, err = s.EndClients(ctx); err != nil || ended != 0 || left != 0 {
			t.Errorf("again: ended %d, left %d, %v", ended, left, err)
		}
		must(t, s.Close())
	})
}

// TestEndClientsTellsWhoIsLeft: on MySQL not even KILL ends a commit that waits
// for its acknowledgement.
func TestEndClientsTellsWhoIsLeft(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MySQL, 1, stack.TopologyOptions{SemiSync: true})
	must(t, cluster.Replicas[0].Freeze())
	conn := client(t, ctx, cluster.Master, stack.AppAccount())
	written := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(ctx, "INSERT INTO app.t VALUES (7, 0)")
		written <- err
	}()
	waitValue(t, ctx, cluster.Master,
		"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%semi-sync ACK%'", "1")
	s := open(t, ctx, cluster.Master)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, left, err := s.EndClients(short)
	wantIs(t, err, verbs.ErrClientsLeft)
	if left != 1 {
		t.Errorf("left %d, want 1", left)
	}
	must(t, s.SetWritable(ctx)) // the session lives on
	if err := <-written; err == nil {
		t.Error("a commit without acknowledgement was reported as done")
	}
}

func TestSemiSync(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{SemiSync: true})
			master, replica := open(t, ctx, cluster.Master), open(t, ctx, cluster.Replicas[0])
			on := func(what string, server *stack.Server, source, acknowledges bool, clients int) {
				t.Helper()
				eventually(t, ctx, func() error {
					s := look(t, ctx, server).SemiSync
					if s.SourceOn != source || s.ReplicaOn != acknowledges || s.Clients != clients {
						return fmt.Errorf("%s: %+v", what, s)
					}
					return nil
				})
			}
			on("master at first", cluster.Master, true, false, 1)
			on("replica at first", cluster.Replicas[0], false, true, 0)
			// As it is: the receiver must not reconnect.
			before := dumps(t, ctx, cluster.Master)
			must(t, replica.SetSemiSync(ctx, verbs.SemiSync{Replica: true}))
			must(t, replica.SetSemiSync(ctx, verbs.SemiSync{Replica: true, Source: true, WaitCount: 1}))
			must(t, replica.SetSemiSync(ctx, verbs.SemiSync{Replica: true}))
			if after := dumps(t, ctx, cluster.Master); after != before {
				t.Errorf("dump threads: %s, then %s", before, after)
			}
			must(t, master.SetSemiSync(ctx, verbs.SemiSync{}))
			twice(t, "replica off", func() error { return replica.SetSemiSync(ctx, verbs.SemiSync{}) })
			on("master off", cluster.Master, false, false, 0)
			twice(t, "replica on", func() error { return replica.SetSemiSync(ctx, verbs.SemiSync{Replica: true}) })
			must(t, master.SetSemiSync(ctx, verbs.SemiSync{Source: true}))
			on("master on again", cluster.Master, true, false, 1)
			must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (8, 0)"))

			err := master.SetSemiSync(ctx, verbs.SemiSync{Source: true, WaitCount: 2})
			if flavor == stack.MariaDB {
				if err == nil {
					t.Error("MariaDB took a wait count of 2")
				}
				return
			}
			must(t, err)
			if got := look(t, ctx, cluster.Master).SemiSync.WaitCount; got != 2 {
				t.Errorf("wait count %d, want 2", got)
			}
		})
	}
}

func TestSemiSyncWithoutPlugins(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MySQL, stack.MySQL56} { // MariaDB has it built in
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
			s := open(t, ctx, cluster.Master)
			wantIs(t, s.SetSemiSync(ctx, verbs.SemiSync{Source: true}), verbs.ErrNoSemiSync)
			wantIs(t, s.SetSemiSync(ctx, verbs.SemiSync{Replica: true}), verbs.ErrNoSemiSync)
			must(t, s.SetSemiSync(ctx, verbs.SemiSync{}))
		})
	}
}

func TestReplicationPasswordStaysSecret(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		for _, password := range []string{`qu'o"te\`, "geheimnis-" + string(make([]byte, 3)), "geheimnis"} {
			cfg := config()
			cfg.Replication.Password = func() string { return password }
			s, err := verbs.New(cfg, nil).Open(ctx, key(t, cluster.Replicas[0]))
			must(t, err)
			source := key(t, cluster.Master)
			source.Host = "a-host-name-that-is-longer-than-any-server-takes-" + fmt.Sprintf("%0300d", 1)
			err = s.Repoint(ctx, source, look(t, ctx, cluster.Master).Executed)
			if err == nil {
				t.Fatal("a host name of 350 letters was taken")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if text := e.Error(); len(password) > 3 && (strings.Contains(text, "geheim") || strings.Contains(text, "qu'o")) {
					t.Errorf("the error shows the password: %v", text)
				}
			}
			must(t, s.Close())
		}
	})
}
