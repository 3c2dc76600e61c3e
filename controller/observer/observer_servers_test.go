//go:build servers

package observer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
)

// real is an observer of real servers: a master with two replicas.
type real struct {
	*observer.Observer
	t        *testing.T
	cluster  *stack.Cluster
	master   topology.Key
	replicas []topology.Key
}

func realKey(t *testing.T, text string) topology.Key {
	t.Helper()
	key, err := topology.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// observe starts servers and an observer that knows one replica.
func observe(t *testing.T, flavor stack.Flavor, more ...topology.Key) *real {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the stack: %v", err)
		}
	})
	cluster, err := s.Topology(ctx, flavor, 2, stack.TopologyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := &real{t: t, cluster: cluster, master: realKey(t, cluster.Master.Key())}
	for _, replica := range cluster.Replicas {
		r.replicas = append(r.replicas, realKey(t, replica.Key()))
	}

	account := stack.ControllerAccount()
	log := slog.New(slog.DiscardHandler)
	prober := probe.New(probe.Config{
		User: account.User, Password: func() string { return account.Password }, ConnectTimeout: time.Second,
	}, log)
	namer, err := discovery.New(discovery.Config{
		Seeds: append(more, r.replicas[1]), Clusters: map[string][]topology.Key{"main": {r.replicas[1]}},
	}, net.DefaultResolver)
	if err != nil {
		t.Fatal(err)
	}
	r.Observer = observer.New(observer.Config{ID: "c1", Seeds: namer.Seeds()}, prober, namer, time.Now, log)
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the observer ended with %v", err)
		}
		prober.Close()
	})
	return r
}

// patience is how long a condition may take; it is only used up by failures.
const patience = 2 * time.Minute

// eventually waits for a condition, which says what is still missing.
func (r *real) eventually(missing func() string) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		text := missing()
		if text == "" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("after %s: %s", patience, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// found waits until the whole topology is known, and tells the observer who is master.
func (r *real) found() {
	r.t.Helper()
	r.eventually(func() string {
		clusters := r.Clusters()
		if len(clusters) != 1 || clusters[0].Name != "main" || len(clusters[0].Servers) != 3 || len(clusters[0].Roots) != 1 {
			return fmt.Sprintf("found %+v, problems %q", clusters, r.Problems())
		}
		if root := clusters[0].Roots[0]; root.Key != r.master || !root.Writable {
			r.t.Fatalf("root %+v, want %s", root, r.master)
		}
		return ""
	})
	if got := r.Snapshot("main", r.master).Replicas(r.master); len(got) != 2 {
		r.t.Fatalf("replicas of the master: %v", got)
	}
	r.Learn("main", append(r.replicas, r.master)...)
	r.SetMaster("main", r.master)
	r.armed(r.cluster.Master)
}

// armed waits until the tripwire is on the server.
func (r *real) armed(server *stack.Server) {
	r.t.Helper()
	const held = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'switchyard' AND info LIKE '%SLEEP(%' " +
		"AND info NOT LIKE '%processlist%'"
	r.eventually(func() string {
		if n, err := server.Value(r.t.Context(), held); err != nil || n != "1" {
			return "no tripwire on " + server.Name() + ": " + n
		}
		return ""
	})
}

// suspected waits for a suspicion of the master, and returns how long after.
func (r *real) suspected(after time.Time, why string) time.Duration {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case s := <-r.Suspicions():
			// A busy machine makes others, which come first.
			if s.At.Before(after) || !strings.Contains(s.Why, why) {
				continue
			}
			took := s.At.Sub(after)
			if s.Cluster != "main" || s.Key != r.master {
				r.t.Errorf("suspicion %+v, want one of the master", s)
			}
			r.t.Logf("suspected after %s: %s", took, s.Why)
			return took
		case <-timeout:
			r.t.Fatalf("no suspicion of %q", why)
		}
	}
}

func (r *real) look() topology.View {
	r.t.Helper()
	begun := time.Now()
	keys := append([]topology.Key{r.master}, r.replicas...)
	view := r.Look(r.t.Context(), keys, map[topology.Key]bool{r.master: true})
	if took := time.Since(begun); took > patience/4 {
		r.t.Errorf("a look took %s", took)
	}
	for _, key := range keys {
		if o, ok := view.Observations[key]; !ok || o.Begun.Before(begun) {
			r.t.Errorf("%s: %+v was not begun after the call", key, o)
		}
	}
	return view
}

func flavors(t *testing.T, test func(*testing.T, stack.Flavor)) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) { test(t, flavor) })
	}
}

func TestDiscoveryOnServers(t *testing.T) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			notMySQL := greeter(t, "SSH-2.0-OpenSSH_9.2\r\n")
			r := observe(t, flavor, notMySQL)
			r.found()
			for _, i := range r.Instances() {
				if i.Key == notMySQL {
					if i.Cluster != "" || i.Last != nil || i.Seen.Reach != topology.ReachError {
						t.Errorf("a seed that is not MySQL: %+v", i)
					}
					continue
				}
				if i.Cluster != "main" || i.Seen.Reach != topology.ReachOK || i.Last.Hostname == "" || i.Age > patience/4 {
					t.Errorf("instance %+v", i)
				}
			}
			r.eventually(func() string {
				p := r.Problems()
				if len(p) != 1 || !strings.HasPrefix(p[0], notMySQL.String()+": error: ") {
					return "problems: " + strings.Join(p, "\n")
				}
				return ""
			})
			// A server of the topology that is found later, and points to a master that nobody knows.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			lost := r.cluster.Replicas[0]
			statements := []string{"STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='127.0.0.9'", "START SLAVE"}
			if flavor == stack.MySQL {
				statements = []string{"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.9'", "START REPLICA"}
			}
			if err := lost.Exec(ctx, statements...); err != nil {
				t.Fatal(err)
			}
			r.eventually(func() string {
				p := strings.Join(r.Problems(), "\n")
				want := r.replicas[0].String() + " replicates from 127.0.0.9:3306, which is unknown and cannot be seen: refused"
				if !strings.Contains(p, want) {
					return "problems: " + p
				}
				return ""
			})
			if got := r.Snapshot("main", r.master); len(got.Servers) != 3 || len(got.Replicas(r.master)) != 1 {
				t.Errorf("servers %v, replicas of the master %v", got.Keys(), got.Replicas(r.master))
			}
		})
	}
}

// greeter is something that listens and is no database server.
func greeter(t *testing.T, greeting string) topology.Key {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			_, writeErr := conn.Write([]byte(greeting))
			if err := conn.Close(); err != nil || writeErr != nil {
				t.Logf("greeter: %v, %v", writeErr, err) // the other end may hang up first
			}
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return realKey(t, listener.Addr().String())
}

func TestCrashOnServers(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		r := observe(t, flavor)
		r.found()
		killed := time.Now()
		if err := r.cluster.Master.Kill(); err != nil {
			t.Fatal(err)
		}
		r.suspected(killed, "")
		var refused time.Duration
		r.eventually(func() string {
			o := r.look().Observations[r.master]
			if o.Reach != topology.ReachRefused || !o.Fresh {
				return "the master is seen as " + string(o.Reach) + ": " + o.Error
			}
			refused = time.Since(killed)
			return ""
		})
		t.Logf("refused is known after %s", refused)
		r.eventually(func() string {
			view := r.look()
			for _, key := range r.replicas {
				o := view.Observations[key]
				if o.Reach != topology.ReachOK || o.Instance.Replication.IO == topology.ThreadRunning {
					return "replica " + key.String() + " is " + string(o.Reach) + ", and its receiver runs"
				}
				if o.Stalled != 0 {
					t.Errorf("a receiver that does not claim to run is stalled for %s", o.Stalled)
				}
			}
			if trip := view.Observations[r.master].Tripwire; trip.Kind != topology.TripBroken {
				t.Errorf("the tripwire ended %+v", trip)
			}
			return ""
		})
		t.Logf("all receivers have stopped after %s", time.Since(killed))
		last := r.Snapshot("main", r.master).Servers[r.master]
		if last.Last == nil || last.Last.Key != r.master || last.LastSeen.After(killed.Add(refused)) {
			t.Errorf("the last picture of the master: %+v", last)
		}
	})
}

func TestCleanRestartOnServers(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		r := observe(t, flavor)
		r.found()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		stopped := time.Now()
		if err := r.cluster.Master.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		r.suspected(stopped, "the tripwire ended")
		o := r.look().Observations[r.master]
		if o.Reach != topology.ReachRefused || o.Tripwire.At.Before(stopped) {
			t.Errorf("after a clean shutdown: %+v", o)
		}
		// MariaDB closes the connection without a word, as a crash does; MySQL ends the query.
		if flavor == stack.MySQL && o.Tripwire.Kind != topology.TripOrderly {
			t.Errorf("the tripwire ended %+v", o.Tripwire)
		}
		if err := r.cluster.Master.Start(ctx); err != nil {
			t.Fatal(err)
		}
		r.eventually(func() string {
			if o, _ := r.Snapshot("main", r.master).Sight(r.master); o.Reach != topology.ReachOK || o.Tripwire.Kind != "" {
				return "the master is seen as " + string(o.Reach) + ", its tripwire as " + string(o.Tripwire.Kind)
			}
			return ""
		})
		r.armed(r.cluster.Master)
	})
}

func TestFreezeOnServers(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		r := observe(t, flavor)
		r.found()
		calm := func() string {
			for key, o := range r.look().Observations {
				if o.Reach != topology.ReachOK || o.Stalled > 1500*time.Millisecond {
					return key.String() + " is " + string(o.Reach) + ", stalled for " + o.Stalled.String()
				}
			}
			return ""
		}
		r.eventually(calm)
		frozen := time.Now()
		if err := r.cluster.Master.Freeze(); err != nil {
			t.Fatal(err)
		}
		r.suspected(frozen, "")
		var before time.Duration
		r.eventually(func() string {
			view := r.look()
			master := view.Observations[r.master]
			if !master.Reach.Dead() || master.Reach == topology.ReachRefused {
				return "a frozen master is seen as " + string(master.Reach) + ": " + master.Error
			}
			least := time.Hour
			for _, key := range r.replicas {
				o := view.Observations[key]
				if o.Reach != topology.ReachOK || o.Instance.Replication.IO != topology.ThreadRunning {
					return fmt.Sprintf("replica %s: %+v", key, o)
				}
				if o.Stalled > time.Since(frozen)+10*time.Second {
					t.Errorf("%s is stalled for %s, %s after the fault", key, o.Stalled, time.Since(frozen))
				}
				least = min(least, o.Stalled)
			}
			if least < before {
				t.Errorf("stalled went from %s to %s", before, least)
			}
			before = least
			if least < 2*time.Second {
				return "the replicas are stalled for " + least.String()
			}
			return ""
		})
		t.Logf("stalled for %s, %s after the freeze", before, time.Since(frozen))
		if err := r.cluster.Master.Thaw(); err != nil {
			t.Fatal(err)
		}
		r.eventually(calm)
	})
}
