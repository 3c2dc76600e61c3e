//go:build servers

package app

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/sidecar/config"
	"switchyard/sidecar/protocol"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A server that runs has no tail; one that has crashed has, and keeps the same when something restarts it at once.
func TestTheTailOutlastsARestart(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			st, err := stack.New(ctx, stack.Options{})
			must(t, err)
			defer func() { must(t, st.Close()) }()
			server, err := st.StartServer(ctx, stack.ServerSpec{Flavor: flavor, ServerID: 1})
			must(t, err)
			data := filepath.Join(server.Dir(), "data")
			file := &config.File{Name: "sc", Secret: "s3cret", Database: config.Database{Cluster: "shop", Server: server.Key(),
				Binlog: config.Binlog{Index: filepath.Join(data, "binlog.index"), DataDir: data, Listen: server.Host() + ":0", Hold: 5 * time.Second}}}
			file.StateDir = t.TempDir()
			beside, err := newTailer(shared{file: file, run: "r", boot: "b", log: slog.New(slog.DiscardHandler)})
			must(t, err)
			running, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- beside.part().Run(running) }()
			defer func() { stop(); must(t, <-ended) }()
			handler := beside.part().Handlers[protocol.PathTail]
			watched := func(what string, check func() bool) {
				t.Helper()
				for !func() bool { beside.mu.Lock(); defer beside.mu.Unlock(); return check() }() {
					select {
					case <-ctx.Done():
						t.Fatalf("the watch has not seen it: %s", what)
					case <-time.After(tailInterval):
					}
				}
			}
			q := protocol.Tail{Controller: "c", Cluster: "shop", Server: server.Key(), Flavor: protocol.MySQL,
				Token: strings.Repeat("T", 26), ForMS: 1000}
			if flavor == stack.MariaDB {
				q.Flavor, q.Own = protocol.MariaDB, 2
			}
			ask := func() (protocol.TailReply, error) {
				body, err := protocol.Encode(q)
				must(t, err)
				answer, err := handler(ctx, body)
				if err != nil {
					return protocol.TailReply{}, err
				}
				return protocol.Decode[protocol.TailReply](answer)
			}
			must(t, server.Exec(ctx, "SET GLOBAL read_only = 0", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"))
			if _, err := ask(); err == nil || !strings.Contains(err.Error(), "the server runs") {
				t.Fatalf("while it runs: %v", err)
			}
			watched("it runs", func() bool { return beside.ran })
			must(t, server.Kill())
			must(t, server.Wait(ctx))
			// Who would start it again waits, from the crash on.
			held, give := context.WithCancel(ctx)
			waited := make(chan error, 1)
			go func() { waited <- Ready(held, file) }()
			defer give()
			crashed, err := ask()
			if err != nil || crashed.Restarted || crashed.Count == 0 || crashed.Port == 0 {
				t.Fatalf("after the crash: %+v, %v", crashed, err)
			}
			watched("it has ended", func() bool { return beside.left != nil })
			select {
			case err := <-waited:
				t.Errorf("it may be started while its tail is read: %v", err)
			default:
			}
			select {
			case err := <-waited:
				must(t, err)
			case <-time.After(longestHold / 2):
				t.Error("it may not be started again")
			}
			must(t, server.Start(ctx))
			must(t, server.Exec(ctx, "SET GLOBAL read_only = 0", "INSERT INTO shop.t VALUES (1)", "FLUSH BINARY LOGS"))
			again, err := ask()
			if err != nil || !again.Restarted || again.Set != crashed.Set || again.Count != crashed.Count {
				t.Errorf("after the restart: %+v, %v; before it %+v", again, err, crashed)
			}
			q.Server = "elsewhere:1"
			if _, err := ask(); err == nil || !strings.Contains(err.Error(), "this sidecar stands beside") {
				t.Errorf("asked for another server: %v", err)
			}
		})
	}
}
