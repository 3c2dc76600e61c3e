package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/gtid"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

// TestTails asks a sidecar's real door for a tail.
func TestTails(t *testing.T) {
	t.Parallel()
	asked := make(chan protocol.Tail, 2)
	d := door.New(door.Config{Listen: "127.0.0.1:0", Secret: "between-them"}, quiet())
	d.Handle(protocol.PathTail, door.Answer(func(_ context.Context, q protocol.Tail) (protocol.TailReply, error) {
		asked <- q
		if q.Cluster == "other" {
			return protocol.TailReply{}, wire.NewError(wire.Conflict, "the server runs", "")
		}
		return protocol.TailReply{Who: protocol.Who{Sidecar: "sc", Run: "r", Boot: "b", Cluster: q.Cluster, Server: q.Server},
			Port: 3308, Set: "0-1-7", Count: 2, Problem: "a bad checksum"}, nil
	}))
	if err := d.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c := file(t, 1, fmt.Sprintf("clusters: [{name: shop, seeds: [m]}]\nsidecars: {secret: between-them, databases: [{server: 'M:3306', http: 'http://%s'}]}\n", d.Addr()))
	client := call.New(c.Sidecars.Secret.Reveal())
	defer client.Wait()
	tails, err := newTails(c, client)
	if err != nil {
		t.Fatal(err)
	}
	if !tails.Has(key("m")) || tails.Has(key("r")) {
		t.Fatalf("%+v", tails)
	}
	holds, err := gtid.ParseMariaDB(2, "0-1-5")
	if err != nil {
		t.Fatal(err)
	}
	bound, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tail, err := tails.Open(bound, "shop", key("m"), holds)
	if err != nil || tail.Port != 3308 || tail.Set.String() != "0-1-7" || tail.Count != 2 || tail.Problem != "a bad checksum" {
		t.Fatalf("%+v, %v", tail, err)
	}
	q := <-asked
	if q.Server != "m:3306" || q.Flavor != protocol.MariaDB || q.Own != 2 || q.Holds != "0-1-5" || q.ForMS < 1 || q.ForMS > 30_000 {
		t.Errorf("asked %+v", q)
	}
	if user, password := protocol.TailAccount("between-them", q.Server, q.Token); tail.User != user || tail.Password != password {
		t.Errorf("the account is %s", tail.User)
	}
	_, err = tails.Open(bound, "other", key("m"), holds)
	var refusal *wire.Error
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "m:3306: ") || !strings.Contains(err.Error(), "the server runs") {
		t.Errorf("%v", err)
	}
}
