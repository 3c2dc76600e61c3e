package guard_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

func who(server string) protocol.Who {
	return protocol.Who{Sidecar: "x", Run: "r", Boot: "b", Cluster: "shop", Server: server, UUID: "uuid-b"}
}

func epoch(n uint64) routes.Epoch { return routes.Epoch{Generation: 1, Number: n} }

// TestFollow: only who receives from the asker's server now follows it.
func TestFollow(t *testing.T) {
	inWorld(t, 1, 0, func(t *testing.T, w *world) {
		w.all(w.controllers, no)
		w.epoch = 5
		g, stop := w.sidecar()
		defer stop()
		w.until(3*time.Second, "the epoch is known", func() bool { return w.tells("c1").Epoch == epoch(5) })
		ask := func(q protocol.Follow) protocol.FollowReply {
			reply, err := g.Follow(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Follows != (reply.No == "") || reply.Server != "db-a:3306" {
				t.Errorf("%+v", reply)
			}
			return reply
		}
		for _, test := range []struct {
			name   string
			change func(*protocol.Follow)
			want   protocol.NoReason
		}{
			{"receives", func(*protocol.Follow) {}, ""},
			{"in an epoch that is not known yet", func(q *protocol.Follow) { q.Epoch = epoch(6) }, ""},
			{"another cluster", func(q *protocol.Follow) { q.Cluster = "other" }, protocol.Elsewhere},
			{"its own server", func(q *protocol.Follow) { q.Server = "DB-A:3306" }, protocol.Elsewhere},
			{"an older epoch", func(q *protocol.Follow) { q.Epoch = epoch(4) }, protocol.NewerEpoch},
			{"retries", func(*protocol.Follow) { w.receives.Receiving = false }, protocol.NotReceiving},
			{"from nobody", func(*protocol.Follow) { w.receives = source("", false) }, protocol.NotReceiving},
			{"by another name of the same host", func(*protocol.Follow) { w.receives = source("alias:3306", true) }, ""},
			{"from another port", func(*protocol.Follow) { w.receives = source("db-b:3307", true) }, protocol.NotReceiving},
			{"from another host", func(*protocol.Follow) { w.receives = source("db-x:3306", true) }, protocol.NotReceiving},
			{"by the uuid", func(*protocol.Follow) { w.receives.Server, w.receives.UUID = "db-x:3306", "uuid-b" }, ""},
			{"from another uuid", func(*protocol.Follow) { w.receives.UUID = "uuid-c" }, protocol.NotReceiving},
			{"hangs", func(*protocol.Follow) { w.hangs = true }, protocol.NotReceiving},
		} {
			q := protocol.Follow{Who: who("db-b:3306"), Epoch: epoch(5)}
			w.do(func() {
				w.hangs, w.receives = false, source("db-b:3306", true)
				test.change(&q)
			})
			if reply := ask(q); reply.No != test.want {
				t.Errorf("%s: %+v, want %q", test.name, reply, test.want)
			}
		}
	})
}

// TestAWordIsOnDiskBeforeItIsGiven, outlives a restart, and is for the epochs
// before its own.
func TestAWordIsOnDiskBeforeItIsGiven(t *testing.T) {
	inWorld(t, 1, 0, func(t *testing.T, w *world) {
		w.all(w.controllers, no)
		w.receives = source("db-b:3306", true)
		g, stop := w.sidecar()
		block := filepath.Join(w.dir, "database.json.new")
		time.Sleep(3 * time.Second)
		if err := os.Mkdir(block, 0o700); err != nil {
			t.Fatal(err)
		}
		part := protocol.Part{Controller: "c1", Cluster: "shop", Server: "db-b:3306", Epoch: epoch(4)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if reply, err := g.Part(ctx, part); err == nil {
			t.Errorf("given without a disk: %+v", reply)
		}
		if err := os.Remove(block); err != nil {
			t.Fatal(err)
		}
		if reply, err := g.Part(t.Context(), part); err != nil || !reply.Parted || reply.Epoch != epoch(4) {
			t.Errorf("%+v, %v", reply, err)
		}
		older := part
		older.Epoch = epoch(3)
		if reply, err := g.Part(t.Context(), older); err != nil || reply.Parted || reply.Epoch != epoch(4) {
			t.Errorf("a word for an older epoch: %+v, %v", reply, err)
		}
		own := part
		own.Server = "db-a:3306"
		if _, err := g.Part(t.Context(), own); err == nil {
			t.Error("parted from its own server")
		}
		stop()
		g, stop = w.sidecar()
		defer stop()
		for n, want := range map[uint64]protocol.NoReason{3: protocol.Parted, 4: ""} {
			reply, err := g.Follow(t.Context(), protocol.Follow{Who: who("db-b:3306"), Epoch: epoch(n)})
			if err != nil || reply.No != want {
				t.Errorf("epoch %d: %+v, %v; want %q", n, reply, err, want)
			}
		}
	})
}
