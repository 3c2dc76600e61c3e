package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"switchyard/controller/config"
	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/sidecar/call"
	"switchyard/sidecar/protocol"
)

// tails asks the sidecars beside crashed masters for what those wrote last.
type tails struct {
	controller, secret string
	client             *call.Client
	// urls are the sidecars', by server.
	urls map[topology.Key]string
}

func newTails(c *config.File, client *call.Client) (tails, error) {
	t := tails{controller: c.ID, secret: c.Sidecars.Secret.Reveal(), client: client, urls: map[topology.Key]string{}}
	for n, b := range c.Sidecars.Databases {
		k, err := topology.ParseKey(b.Server)
		if err != nil {
			return t, &StartError{fmt.Errorf("sidecars.databases[%d].server: %w", n, err)}
		}
		t.urls[k] = b.HTTP
	}
	return t, nil
}

// Has implements executor.Tails.
func (t tails) Has(server topology.Key) bool { return t.urls[server] != "" }

// Open implements executor.Tails.
func (t tails) Open(ctx context.Context, cluster string, server topology.Key, holds gtid.Set) (executor.Tail, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(call.Longest)
	}
	q := protocol.Tail{
		Controller: t.controller, Cluster: cluster, Server: server.String(), Flavor: protocol.MySQL, Holds: holds.String(),
		Token: rand.Text(), ForMS: max(1, int(time.Until(deadline)/time.Millisecond)),
	}
	if holds.Flavor() == gtid.MariaDB {
		q.Flavor, q.Own = protocol.MariaDB, holds.Own()
	}
	reply, err := call.Post[protocol.TailReply](ctx, t.client, t.urls[server], protocol.PathTail, q)
	if err != nil {
		return executor.Tail{}, fmt.Errorf("the sidecar beside %s: %w", server, err)
	}
	tail := executor.Tail{Port: uint16(reply.Port), Count: reply.Count, Restarted: reply.Restarted, Problem: reply.Problem}
	if q.Flavor == protocol.MariaDB {
		tail.Set, err = gtid.ParseMariaDB(0, reply.Set)
	} else {
		tail.Set, err = gtid.ParseMySQL(reply.Set)
	}
	if err != nil {
		return executor.Tail{}, fmt.Errorf("the sidecar beside %s: %w", server, err)
	}
	tail.User, tail.Password = protocol.TailAccount(t.secret, server.String(), q.Token)
	return tail, nil
}
