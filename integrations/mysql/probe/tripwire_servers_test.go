//go:build servers

package probe_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
)

type held struct {
	end topology.TripEnd
	err error
}

// arm holds a tripwire, and returns when the server shows it.
func arm(t *testing.T, ctx context.Context, p *probe.Prober, server *stack.Server) (<-chan held, string) {
	t.Helper()
	ended := make(chan held, 1)
	address := key(t, server)
	go func() {
		end, err := p.Hold(ctx, address)
		ended <- held{end, err}
	}()
	var id string
	eventually(t, ctx, func() error {
		ids := connections(t, ctx, server, "USER = 'switchyard' AND INFO LIKE '%SLEEP(%'")
		if len(ids) != 1 {
			return fmt.Errorf("%d tripwires", len(ids))
		}
		id = ids[0]
		return nil
	})
	return ended, id
}

// TestTripwireEnds measures what each way to end a server, or the tripwire
// alone, looks like.
func TestTripwireEnds(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		// A query timeout of the server's must not end a tripwire.
		limits := map[stack.Flavor]map[string]string{
			stack.MariaDB: {"max_statement_time": "0.2"}, stack.MySQL: {"max_execution_time": "200"},
		}
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{Options: limits[flavor]})
		server := cluster.Master
		p := newProber(t, config())
		shutdown := topology.TripOrderly
		if flavor == stack.MariaDB {
			shutdown = topology.TripBroken // it closes the sockets and says nothing
		}
		kill := func(statement string) func(string) error {
			return func(id string) error { return server.Exec(ctx, statement+id) }
		}
		cases := []struct {
			name string
			end  func(id string) error
			want topology.TripKind
			dies bool
		}{
			{"KILL CONNECTION", kill("KILL CONNECTION "), topology.TripBroken, false},
			{"KILL QUERY", kill("KILL QUERY "), topology.TripOrderly, false},
			{"clean shutdown", func(string) error { return server.Stop(ctx) }, shutdown, true},
			{"SIGKILL", func(string) error { return server.Kill() }, topology.TripBroken, true},
		}
		for _, c := range cases {
			ended, id := arm(t, ctx, p, server)
			select { // longer than the server's query timeout
			case h := <-ended:
				t.Fatalf("%s: the tripwire ended by itself: %+v", c.name, h)
			case <-time.After(400 * time.Millisecond):
			}
			begun := time.Now()
			must(t, c.end(id))
			select {
			case h := <-ended:
				t.Logf("%s: %s after %v: %s", c.name, h.end.Kind, h.end.At.Sub(begun), h.end.Error)
				if h.err != nil || h.end.Kind != c.want || h.end.At.Before(begun) {
					t.Errorf("%s: got %+v, want %s", c.name, h, c.want)
				}
			case <-time.After(2 * time.Minute):
				t.Fatalf("%s: the tripwire still holds", c.name)
			}
			if c.dies {
				must(t, server.Start(ctx)) // it waits for the old process to be gone
			}
		}
		checkTripwireCannotBegin(t, ctx, p, server)
	})
}

func checkTripwireCannotBegin(t *testing.T, ctx context.Context, p *probe.Prober, server *stack.Server) {
	t.Helper()
	short, cancel := context.WithCancel(ctx)
	ended, _ := arm(t, short, p, server)
	cancel()
	if h := <-ended; !errors.Is(h.err, context.Canceled) || h.end.Kind != "" {
		t.Errorf("given up: got %+v", h)
	}
	ended, _ = arm(t, ctx, p, server)
	p.Close()
	if h := <-ended; !errors.Is(h.err, context.Canceled) || h.end.Kind != "" {
		t.Errorf("prober closed: got %+v", h)
	}
	must(t, server.Kill())
	must(t, server.Wait(ctx))
	end, err := newProber(t, config()).Hold(ctx, key(t, server))
	if err == nil || end.Kind != "" {
		t.Fatalf("nobody there: got %+v, %v", end, err)
	}
	if got := reach(t, err); got != topology.ReachRefused {
		t.Errorf("nobody there: got %s", got)
	}
}
