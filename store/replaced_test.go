package store

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// far is a way to a controller that takes its time.
type far struct {
	listener net.Listener
	to       string
	delay    time.Duration
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

// newFar returns a way to an address with a delay in each direction.
func newFar(t *testing.T, to string, delay time.Duration) *far {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{listener: listener, to: to, delay: delay}
	f.running.Go(f.run)
	t.Cleanup(f.close)
	return f
}

func (f *far) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for _, conn := range f.conns {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
}

// keep remembers conns for close, and reports whether it has not come yet.
func (f *far) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		for _, conn := range conns {
			_ = conn.Close()
		}
		return false
	}
	f.conns = append(f.conns, conns...)
	return true
}

func (f *far) run() {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return
		}
		away, err := net.Dial("tcp", f.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !f.keep(near, away) {
			return
		}
		// To connect took no time here, so the first bytes pay for it.
		f.running.Go(func() { f.pump(near, away, 3*f.delay) })
		f.running.Go(func() { f.pump(away, near, f.delay) })
	}
}

// pump carries what it reads after a delay; the first of it may take longer.
func (f *far) pump(from, to net.Conn, first time.Duration) {
	type chunk struct {
		data []byte
		due  time.Time
	}
	chunks := make(chan chunk, 10000)
	f.running.Go(func() {
		defer func() { _ = to.Close() }()
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				_ = from.Close()
			}
		}
	})
	defer close(chunks)
	begun := time.Now()
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		if n > 0 {
			due := time.Now().Add(f.delay)
			if least := begun.Add(first); due.Before(least) {
				due = least
			}
			chunks <- chunk{data[:n], due}
		}
		if err != nil {
			return
		}
	}
}

// TestDeadLeaderIsReplaced holds the two profiles of the configuration to what
// they promise. One time in ten has to do: the machine may be busy.
func TestDeadLeaderIsReplaced(t *testing.T) {
	const ms = time.Millisecond
	ours := newAuthority(t)
	for name, tc := range map[string]struct {
		timeouts Timeouts
		delay    time.Duration
		within   time.Duration
	}{
		"lan": {Timeouts{Heartbeat: 250 * ms, Election: 250 * ms, LeaderLease: 200 * ms, Commit: 5 * ms}, 0, time.Second},
		"wan": {Timeouts{Heartbeat: 600 * ms, Election: time.Second, LeaderLease: 500 * ms, Commit: 10 * ms}, 80 * ms, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var all []time.Duration
			for range 10 {
				cfgs := configs(t, 3)
				peers := slices.Clone(cfgs[0].Peers)
				if tc.delay > 0 {
					for i := range peers {
						peers[i].RaftAddress = newFar(t, peers[i].RaftAddress, tc.delay).listener.Addr().String()
					}
				}
				for i := range cfgs {
					cfgs[i].Peers, cfgs[i].Timeouts, cfgs[i].TLS = peers, tc.timeouts, ours.issue(t, loopback, "")
				}
				took, ok := replaced(t, cfgs)
				if !ok {
					continue
				}
				all = append(all, took)
				if took <= tc.within {
					t.Logf("a dead leader was replaced, ready to act, after %v", all)
					return
				}
			}
			t.Errorf("%v; the profile promises %s", all, tc.within)
		})
	}
}

// replaced kills a leader, and returns how long there was none that is ready to
// act. It is false if the leader was deposed before, as happens where the machine
// is busy for longer than its lease.
func replaced(t *testing.T, cfgs []Config) (took time.Duration, ok bool) {
	t.Helper()
	all := openAll(t, cfgs)
	defer func() {
		for _, s := range all {
			closeNow(t, s)
		}
	}()
	lead := leader(t, all...)
	// Until all know of it, there may be nobody to follow.
	if lead.Propose(bounded(t), adopt(1)) != nil {
		return 0, false
	}
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) })
	}
	began := time.Now()
	if lead.VerifyLeader(bounded(t)) != nil {
		return 0, false
	}
	if err := lead.transport.Close(); err != nil {
		t.Fatal(err)
	}
	rest := others(all, lead)
	leader(t, rest...)
	took = time.Since(began)
	adopted(t, 2, rest...)
	return took, true
}
