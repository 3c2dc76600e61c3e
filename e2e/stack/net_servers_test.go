//go:build servers

package stack_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
)

// answers tells whether a server's banner comes to who connects to it.
func answers(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), server *stack.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := dial(ctx, "tcp", server.Key())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestHostsReachEachOtherUntilTheyAreCutOff(t *testing.T) {
	s, ctx := newStack(t)
	n, err := s.NewNet(ctx, "a", "b", "c")
	must(t, err)
	must(t, n.Place("db1", "a"))
	must(t, n.Place("db2", "b"))
	if _, err := s.IPFor("db3"); err == nil || !strings.Contains(err.Error(), "db3") {
		t.Errorf("a part that is on no host: %v", err)
	}
	cluster, err := s.Topology(ctx, stack.MariaDB, 1, stack.TopologyOptions{})
	must(t, err)
	master := cluster.Master

	routes, err := n.Host("a").Run(ctx, "ip", "route", "show", "default")
	must(t, err)
	if routes != "" {
		t.Errorf("a host has a way out: %s", routes)
	}
	a, b, c, outside := n.Host("a").Dial, n.Host("b").Dial, n.Host("c").Dial, (&net.Dialer{}).DialContext
	check := func(when string, reached, lost []func(context.Context, string, string) (net.Conn, error)) {
		t.Helper()
		for i, dial := range reached {
			if err := answers(ctx, dial, master); err != nil {
				t.Errorf("%s: number %d does not reach it: %v", when, i, err)
			}
		}
		for i, dial := range lost {
			if err := answers(ctx, dial, master); err == nil {
				t.Errorf("%s: number %d reaches it", when, i)
			}
		}
	}
	type dials = []func(context.Context, string, string) (net.Conn, error)
	check("whole", dials{a, b, c, outside}, nil)

	must(t, n.Cut(ctx, stack.Between("a", "b")...))
	check("two cut", dials{a, c, outside}, dials{b})
	must(t, n.Heal(ctx))
	must(t, n.Cut(ctx, stack.Way{From: "a", To: "c"}))
	check("one way cut", dials{a, b, outside}, dials{c})
	// A connection that was there goes on in the other direction: c's packets arrive.
	must(t, n.Cut(ctx, n.Around("a")...))
	check("cut off", dials{a}, dials{b, c, outside})
	must(t, n.Heal(ctx, n.Around("a")...))
	check("healed", dials{a, b, c, outside}, nil)
	must(t, n.Cut(ctx, n.Around("a", "b")...))
	check("two cut off together", dials{a, b}, dials{c, outside})
	must(t, n.Heal(ctx))
	must(t, master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)"))
	must(t, cluster.Replicas[0].WaitFor(ctx, "replication after the cuts", func(ctx context.Context) error {
		return stack.WaitCaughtUp(ctx, cluster.Replicas[0], master)
	}))
	if err := n.Cut(ctx, stack.Way{From: "a", To: "nobody"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("an unknown host: %v", err)
	}
}

func TestNothingOfANetIsLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	n, err := s.NewNet(ctx, "a")
	must(t, err)
	address := n.Host("a").Address()
	_, err = n.Host("a").Run(ctx, "ip", "addr")
	must(t, err)
	must(t, s.Close())
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		must(t, err)
		if text := fmt.Sprint(addresses); strings.Contains(text, address[:strings.LastIndex(address, ".")]) {
			t.Errorf("%s is left, with %s", i.Name, text)
		}
	}
}
