//go:build servers && linux

package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/router/routes"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

// The lease of the tests is long enough for a loaded machine.
const leaseFor, fenceFor, killFor = 12 * time.Second, 3 * time.Second, 3 * time.Second

// controller is a pretend one, behind a real door.
type controller struct {
	name, http string

	mu      sync.Mutex
	reply   protocol.RenewReply
	silent  bool
	last    protocol.Renew
	granted time.Time // when it granted last
	exits   []protocol.Exit
}

func startController(t *testing.T, name string) *controller {
	t.Helper()
	c := &controller{name: name}
	d := door.New(door.Config{Listen: "127.0.0.1:0", Secret: stack.SidecarSecret}, slog.New(slog.DiscardHandler))
	d.Handle(protocol.PathRenew, door.Answer(c.renew))
	d.Handle(protocol.PathExit, door.Answer(c.exit))
	must(t, d.Listen(t.Context()))
	c.http = "http://" + d.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	return c
}

func (c *controller) renew(_ context.Context, q protocol.Renew) (protocol.RenewReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return protocol.RenewReply{}, errors.New("silent")
	}
	c.last = q
	reply := c.reply
	reply.Controller, reply.Run = c.name, "run"
	if reply.GrantMS > 0 {
		c.granted = time.Now()
	} else if reply.Refusal == "" {
		reply.Refusal = protocol.NotReady
	}
	return reply, nil
}

func (c *controller) exit(_ context.Context, q protocol.Exit) (protocol.ExitNoted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exits = append(c.exits, q)
	return protocol.ExitNoted{Controller: c.name}, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// post is a server with its sidecar and three pretend controllers.
type post struct {
	t           *testing.T
	ctx         context.Context
	stack       *stack.Stack
	server      *stack.Server
	replica     *stack.Server
	sidecar     *stack.Process
	controllers []*controller
	binary      string
	spec        stack.DatabaseSidecarSpec
}

func newPost(t *testing.T, flavor stack.Flavor, tie bool, options stack.TopologyOptions) *post {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	binary, err := s.BuildSwitchyard(ctx)
	must(t, err)
	cluster, err := s.Topology(ctx, flavor, 1, options)
	must(t, err)
	p := &post{t: t, ctx: ctx, stack: s, server: cluster.Master, replica: cluster.Replicas[0]}
	must(t, p.server.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)"))
	spec := stack.DatabaseSidecarSpec{
		Name: "sidecar", Cluster: "shop", Server: p.server, Renew: 200 * time.Millisecond, Fence: fenceFor, Kill: killFor, Tie: tie,
	}
	for i := range 3 {
		c := startController(t, fmt.Sprintf("c%d", i+1))
		p.controllers = append(p.controllers, c)
		spec.Controllers = append(spec.Controllers, stack.Named{Name: c.name, HTTP: c.http})
	}
	spec.Listen, err = s.SidecarListen(spec.Name)
	must(t, err)
	p.binary, p.spec = binary, spec
	peer, err := s.SidecarListen("peer")
	must(t, err)
	p.spec.Peers = []stack.Named{{Name: "peer", HTTP: "http://" + peer}}
	p.sidecar = p.start(p.spec)
	return p
}

func (p *post) start(spec stack.DatabaseSidecarSpec) *stack.Process {
	p.t.Helper()
	sidecar, err := p.stack.StartDatabaseSidecar(p.ctx, p.binary, spec)
	must(p.t, err)
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Log(sidecar.Output())
		}
	})
	return sidecar
}

// startPeer starts the sidecar beside the replica.
func (p *post) startPeer() (http string) {
	p.t.Helper()
	spec, peer := p.spec, p.spec.Peers[0]
	spec.Name, spec.Server, spec.Listen = peer.Name, p.replica, strings.TrimPrefix(peer.HTTP, "http://")
	spec.Peers = []stack.Named{{Name: p.spec.Name, HTTP: "http://" + p.spec.Listen}}
	p.start(spec)
	return peer.HTTP
}

// each changes all controllers.
func (p *post) each(change func(*controller)) {
	for _, c := range p.controllers {
		c.mu.Lock()
		change(c)
		c.mu.Unlock()
	}
}

func (p *post) grant() {
	p.each(func(c *controller) {
		c.silent = false
		c.reply = protocol.RenewReply{GrantMS: int(leaseFor / time.Millisecond), Epoch: routes.Epoch{Generation: 1, Number: 1}}
	})
}

// silence cuts the controllers off. It returns when the last grant was given.
func (p *post) silence() (last time.Time) {
	p.each(func(c *controller) {
		c.silent = true
		if c.granted.After(last) {
			last = c.granted
		}
	})
	return last
}

// wait waits until a controller was told what is wanted.
func (p *post) wait(what string, told func(protocol.Renew) bool) {
	p.t.Helper()
	must(p.t, p.sidecar.WaitFor(p.ctx, what, func(context.Context) error {
		for _, c := range p.controllers {
			c.mu.Lock()
			q := c.last
			c.mu.Unlock()
			if !told(q) {
				return fmt.Errorf("%s was told %+v", c.name, q)
			}
		}
		return nil
	}))
}

func holds(holding protocol.Holding, state protocol.State) func(protocol.Renew) bool {
	return func(q protocol.Renew) bool { return q.Holding == holding && q.State == state }
}

// held grants until the lease is held.
func (p *post) held() {
	p.t.Helper()
	p.grant()
	p.wait("held", holds(protocol.Held, protocol.Writable))
}

// writes tells whether the server takes an application's write; it does not
// wait for one that hangs.
func (p *post) writes(id int) error {
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	db, err := p.server.Open(stack.AppAccount(), stack.AppSchema)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // its connections are closed
	_, err = db.ExecContext(ctx, "INSERT INTO t VALUES (?, 0)", id)
	return err
}

func (p *post) waitServer(what string, ok func() bool) {
	p.t.Helper()
	must(p.t, p.sidecar.WaitFor(p.ctx, what, func(context.Context) error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	}))
}

func (p *post) readOnly() bool {
	value, err := p.server.Value(p.ctx, "SELECT @@global.read_only")
	return err == nil && value == "1"
}

func flavors(t *testing.T, test func(*testing.T, stack.Flavor)) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) { test(t, flavor) })
	}
}

// TestACutOffMasterStopsBeforeItsLeaseEnds, and stays so over a restart of the
// sidecar and of the server, until a majority grants again.
func TestACutOffMasterStopsBeforeItsLeaseEnds(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{})
		p.wait("unleased", holds(protocol.Unleased, protocol.Writable)) // not_ready: nothing is changed
		must(t, p.writes(1))
		p.held()
		must(t, p.writes(2))
		last := p.silence()
		p.waitServer("read-only", p.readOnly)
		if took := time.Since(last); took > leaseFor {
			t.Errorf("read-only %s after the last grant, of %s", took, leaseFor)
		}
		if err := p.writes(3); err == nil {
			t.Error("it takes writes")
		}

		// What is asked by a sidecar that was killed and started again.
		must(t, p.sidecar.Kill())
		must(t, p.sidecar.Wait(p.ctx))
		must(t, p.server.SetReadOnly(p.ctx, false))
		must(t, p.sidecar.Start(p.ctx))
		p.waitServer("read-only again", p.readOnly)
		must(t, p.server.Kill())
		must(t, p.server.Start(p.ctx))
		// Its sidecar ends the sessions of root while it is read-only.
		p.waitServer("made writable by hand", func() bool { return p.server.SetReadOnly(p.ctx, false) == nil })
		p.waitServer("read-only after the server's restart", p.readOnly)
		p.each(func(c *controller) {
			c.silent, c.reply = false, protocol.RenewReply{Refusal: protocol.Deposed, Epoch: routes.Epoch{Generation: 1, Number: 2}}
		})
		p.wait("fenced", holds(protocol.Fenced, protocol.ReadOnly))
		p.each(func(c *controller) {
			c.reply = protocol.RenewReply{GrantMS: int(leaseFor / time.Millisecond), Epoch: routes.Epoch{Generation: 1, Number: 3}}
		})
		p.wait("held again", holds(protocol.Held, protocol.ReadOnly)) // it does not make it writable
	})
}

// TestAHungMasterIsKilledBeforeItsLeaseEnds: read-only cannot be had of it.
func TestAHungMasterIsKilledBeforeItsLeaseEnds(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{})
		p.held()
		must(t, p.server.Freeze())
		p.wait("silent", holds(protocol.Held, protocol.Silent)) // the controllers grant: nothing is done
		last := p.silence()
		p.waitServer("killed", func() bool { return !p.server.Running() })
		if took := time.Since(last); took > leaseFor {
			t.Errorf("killed %s after the last grant, of %s", took, leaseFor)
		}
	})
}

// TestTheEndOfTheServerIsToldAtOnce, with how it ended; and that it is there again.
func TestTheEndOfTheServerIsToldAtOnce(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{})
		p.held()
		pid := p.server.Pid()
		must(t, p.server.Kill())
		for _, c := range p.controllers {
			p.waitServer("told", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return len(c.exits) == 1
			})
			if e := c.exits[0]; e.Kind != protocol.Killed || e.Status != 9 || e.PID != pid {
				t.Errorf("%+v, want the process %d killed", e, pid)
			}
		}
		p.wait("gone", holds(protocol.Held, protocol.Gone))
		must(t, p.server.Start(p.ctx))
		p.wait("there again", func(q protocol.Renew) bool {
			return q.Holding == protocol.Held && (q.State == protocol.ReadOnly || q.State == protocol.Writable)
		})
		must(t, p.server.Stop(p.ctx))
		p.waitServer("told of the shutdown", func() bool {
			c := p.controllers[0]
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.exits) == 2 && c.exits[1].Kind == protocol.Clean
		})
	})
}

// follow makes the server a replica of the replica. Until it is one, its sidecar
// ends the sessions of root, too.
func (p *post) follow() {
	p.t.Helper()
	stop := map[stack.Flavor]string{stack.MariaDB: "STOP SLAVE", stack.MySQL: "STOP REPLICA"}[p.server.Flavor()]
	p.waitServer("it follows the replica", func() bool {
		ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
		defer cancel()
		if status, err := p.server.ReplicaStatus(ctx); err == nil && status.Running() {
			return true
		}
		if stack.Replicate(ctx, p.server, p.replica, stack.ReplicateOptions{}) == nil {
			return true
		}
		_ = p.server.Exec(ctx, stop) // or it cannot be told again
		return false
	})
}

// TestADeposedMasterEndsClientsAsTheyCome, and leaves those of a replica alone.
func TestADeposedMasterEndsClientsAsTheyCome(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{})
		p.held()
		p.each(func(c *controller) {
			c.reply = protocol.RenewReply{Refusal: protocol.Deposed, Epoch: routes.Epoch{Generation: 1, Number: 2}}
		})
		p.wait("fenced", holds(protocol.Fenced, protocol.ReadOnly))
		db, err := p.server.Open(stack.AppAccount(), stack.AppSchema)
		must(t, err)
		defer db.Close() //nolint:errcheck // its connections are closed
		for range 5 {
			conn, err := db.Conn(p.ctx)
			if err != nil {
				continue // ended before it was through
			}
			p.waitServer("ended", func() bool { return conn.PingContext(p.ctx) != nil })
			_ = conn.Close() // it is closed
		}
		p.follow()
		p.waitServer("a client stays", func() bool {
			conn, err := db.Conn(p.ctx)
			if err != nil {
				return false
			}
			defer conn.Close() //nolint:errcheck // given back
			_, err = conn.ExecContext(p.ctx, "DO SLEEP(1)")
			return err == nil
		})
	})
}

// TestACommitThatWaitsIsNeverAcknowledged: the server is killed under it.
func TestACommitThatWaitsIsNeverAcknowledged(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{SemiSync: true})
		p.held()
		must(t, p.replica.Freeze())
		written := make(chan error, 1)
		db, err := p.server.Open(stack.AppAccount(), stack.AppSchema)
		must(t, err)
		defer db.Close() //nolint:errcheck // the server is gone
		go func() {
			_, err := db.ExecContext(p.ctx, "INSERT INTO t VALUES (7, 0)")
			written <- err
		}()
		p.waitServer("a commit waits", func() bool {
			n, err := p.server.Value(p.ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%semi-sync ACK%'")
			return err == nil && n == "1"
		})
		last := p.silence()
		seen, reads := 0, 0
		for p.server.Running() {
			var n int
			if db.QueryRowContext(p.ctx, "SELECT COUNT(*) FROM t WHERE id = 7").Scan(&n) == nil {
				reads++
				seen += n
			}
		}
		if took := time.Since(last); took > leaseFor || reads == 0 || seen != 0 {
			t.Errorf("killed after %s; read %d times, seen %d times", took, reads, seen)
		}
		if err := <-written; err == nil {
			t.Error("the commit was acknowledged")
		}
	})
}

// TestATiedServerDoesNotOutliveItsSidecar, dead or frozen, and does live on if
// the sidecar is there again before the lease ends.
func TestATiedServerDoesNotOutliveItsSidecar(t *testing.T) {
	tied := func(q protocol.Renew) bool { return q.Holding == protocol.Held && q.Tied }
	for name, end := range map[string]func(*post) error{
		"killed": func(p *post) error { return p.sidecar.Kill() },
		"frozen": func(p *post) error { return p.sidecar.Freeze() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, stack.MariaDB, true, stack.TopologyOptions{})
			p.held()
			p.wait("tied", tied)
			if name == "killed" {
				must(t, p.sidecar.Kill())
				must(t, p.sidecar.Wait(p.ctx))
				p.each(func(c *controller) { c.last = protocol.Renew{} })
				must(t, p.sidecar.Start(p.ctx))
				p.wait("tied again", tied)
				last := time.Now()
				for time.Since(last) < leaseFor { // the watchdog of the first run was told of no other end
					if !p.server.Running() {
						t.Fatal("it was killed though its sidecar is there again")
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
			must(t, end(p))
			var last time.Time
			p.each(func(c *controller) {
				if c.granted.After(last) {
					last = c.granted
				}
			})
			must(t, p.server.Wait(p.ctx))
			if took := time.Since(last); took > leaseFor {
				t.Errorf("gone %s after the last grant, of %s", took, leaseFor)
			}
		})
	}
}

// TestTheReplicasSidecarKeepsTheLease without any controller, until its server
// receives no more, or it has parted.
func TestTheReplicasSidecarKeepsTheLease(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		p := newPost(t, flavor, false, stack.TopologyOptions{})
		http := p.startPeer()
		p.held()
		must(t, p.sidecar.WaitFor(p.ctx, "the peer follows", func(context.Context) error {
			if !strings.Contains(p.sidecar.Output(), "from=peer says=follows") {
				return errors.New("not yet")
			}
			return nil
		}))
		last := p.silence()
		for id := 1; time.Since(last) < 2*leaseFor; id++ {
			if err := p.writes(id); err != nil {
				t.Fatalf("%s after the last grant: %v", time.Since(last), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if flavor == stack.MySQL {
			must(t, p.replica.Exec(p.ctx, "STOP REPLICA IO_THREAD"))
		} else {
			client := call.New(stack.SidecarSecret)
			defer client.Wait()
			reply, err := call.Post[protocol.PartReply](p.ctx, client, http, protocol.PathPart, protocol.Part{
				Controller: "c1", Cluster: "shop", Server: p.server.Key(), Epoch: routes.Epoch{Generation: 1, Number: 2},
			})
			if err != nil || !reply.Parted {
				t.Fatalf("%+v, %v", reply, err)
			}
		}
		parted := time.Now()
		p.waitServer("read-only", p.readOnly)
		if took := time.Since(parted); took > leaseFor {
			t.Errorf("read-only %s after the peer's last word", took)
		}
	})
}

// TestABrokenBookIsRefused: whether the server is fenced is not known then.
func TestABrokenBookIsRefused(t *testing.T) {
	p := newPost(t, stack.MariaDB, false, stack.TopologyOptions{})
	p.held()
	must(t, p.sidecar.Stop(p.ctx))
	must(t, os.WriteFile(filepath.Join(p.sidecar.Dir(), "state", "database.json"), []byte("{}"), 0o600))
	must(t, p.sidecar.Start(p.ctx))
	must(t, p.sidecar.Wait(p.ctx))
	if code := p.sidecar.ExitCode(); code <= 0 {
		t.Errorf("ended with %d", code)
	}
}
