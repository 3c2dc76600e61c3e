package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// line answers as it is told, and remembers what was sent.
type line struct {
	answer func(ctx context.Context, table routes.Table) (protocol.Applied, error)
	sent   []protocol.Apply
	read   []protocol.Read
	url    string
}

func (l *line) Apply(ctx context.Context, url string, m protocol.Apply) (protocol.Applied, error) {
	l.sent, l.url = append(l.sent, m), url
	return l.answer(ctx, m.Table)
}

func (l *line) Read(ctx context.Context, url string, m protocol.Read) (protocol.Applied, error) {
	l.read, l.url = append(l.read, m), url
	return l.answer(ctx, m.Table)
}

func table(number, revision uint64) routes.Table {
	return routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: revision,
		Writer: &routes.Server{Host: "db2", Port: 3306}}
}

func following(table routes.Table) protocol.Applied {
	return protocol.Applied{Sidecar: "edge-a", Run: "r", Proxy: "ha1", Epoch: table.Epoch, Revision: table.Revision, Digest: "9f3c",
		Proof: routes.Proof{Host: table.Writer.String(), Serving: true, Sessions: 3, Holds: true}}
}

func newProxy(t *testing.T, l *line, log *slog.Logger) *Proxy {
	t.Helper()
	p, err := New(Config{Name: "ha1", Cluster: "shop", URL: "http://10.0.0.4:7500", Controller: "c1"}, l, log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// answers makes a line that gives one reply, changed from that of a proxy which follows.
func answers(change func(*protocol.Applied)) *line {
	return &line{answer: func(_ context.Context, asked routes.Table) (protocol.Applied, error) {
		reply := following(asked)
		change(&reply)
		return reply, nil
	}}
}

func TestFollowing(t *testing.T) {
	l := answers(func(r *protocol.Applied) { r.Proof.Warning, r.Problem = "retries are on", "the file could not be kept" })
	p := newProxy(t, l, slog.New(slog.DiscardHandler))
	for name, ask := range map[string]func(context.Context, routes.Table) (routes.Proof, error){"apply": p.Apply, "read": p.Read} {
		proof, err := ask(t.Context(), table(2, 1))
		if err != nil || !proof.Holds || proof.Sessions != 3 || proof.Warning != "retries are on; the file could not be kept" {
			t.Errorf("%s: %+v, %v", name, proof, err)
		}
	}
	if len(l.sent) != 1 || len(l.read) != 1 || l.sent[0].Proxy != "ha1" || l.sent[0].Controller != "c1" ||
		l.sent[0].Table.Epoch.Number != 2 || l.url != "http://10.0.0.4:7500" {
		t.Errorf("sent %+v and %+v to %s", l.sent, l.read, l.url)
	}
}

func TestWhatIsNoConfirmation(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*protocol.Applied)
		want   string
		// what the error is
		down, notYet, higher bool
	}{
		"proven not to run": {func(r *protocol.Applied) { r.NotRunning, r.Proof = true, routes.Proof{} }, "not running", true, false, false},
		"sessions are left": {func(r *protocol.Applied) { r.Proof.Holds, r.Problem = false, "2 sessions are left" },
			"2 sessions are left", false, true, false},
		"nothing read": {func(r *protocol.Applied) { r.Proof, r.Problem = routes.Proof{}, "the proxy hangs" }, "the proxy hangs", false, false, false},
		"a higher epoch": {func(r *protocol.Applied) { r.Older, r.Proof.Holds, r.Epoch.Number = true, false, 9 },
			"which ledger", false, false, true},
		"a higher epoch, and not refused": {func(r *protocol.Applied) { r.Epoch.Generation = 4 }, "which ledger", false, false, true},
		"a higher revision": {func(r *protocol.Applied) { r.Older, r.Proof.Holds, r.Revision = true, false, 7 },
			"holds revision 7", false, false, false},
		"another table of the revision": {func(r *protocol.Applied) { r.Older, r.Proof.Holds = true, false },
			"another table", false, false, false},
		"another proxy": {func(r *protocol.Applied) { r.Proxy = "ha2" }, `speaks of proxy "ha2"`, false, false, false},
		// A proxy that is down behind a sidecar with a newer table may come back with that.
		"down with a higher epoch": {func(r *protocol.Applied) { r.NotRunning, r.Proof, r.Epoch.Number = true, routes.Proof{}, 9 },
			"which ledger", false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, answers(test.change), slog.New(slog.DiscardHandler))
			proof, err := p.Apply(t.Context(), table(2, 1))
			var higher *routes.HigherEpochError
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "proxy ha1 at http://10.0.0.4:7500") {
				t.Fatalf("%+v, %v, want %q", proof, err, test.want)
			}
			if errors.Is(err, routes.ErrNotRunning) != test.down || errors.Is(err, routes.ErrNotYet) != test.notYet ||
				errors.As(err, &higher) != test.higher {
				t.Errorf("%v: down, not yet or higher is wrong", err)
			}
		})
	}
}

// TestReadOfAStrayIsNoError: the keeper puts back what it reads to be elsewhere.
func TestReadOfAStrayIsNoError(t *testing.T) {
	p := newProxy(t, answers(func(r *protocol.Applied) { r.Proof.Holds, r.Problem = false, "changed by somebody" }),
		slog.New(slog.DiscardHandler))
	if proof, err := p.Read(t.Context(), table(2, 1)); err != nil || proof.Holds {
		t.Errorf("%+v, %v", proof, err)
	}
}

// TestAProxyThatCouldNotBeReadHasNotStrayed: the keeper would put it back, and
// tell the audit of what never happened. One that was not told yet is told.
func TestAProxyThatCouldNotBeReadHasNotStrayed(t *testing.T) {
	unread := func(r *protocol.Applied) { r.Proof, r.Digest, r.Problem = routes.Proof{}, "", "the proxy hangs" }
	p := newProxy(t, answers(unread), slog.New(slog.DiscardHandler))
	if proof, err := p.Read(t.Context(), table(2, 1)); err == nil || !strings.Contains(err.Error(), "the proxy hangs") ||
		errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("%+v, %v", proof, err)
	}
	p = newProxy(t, answers(func(r *protocol.Applied) { unread(r); r.Revision = 0 }), slog.New(slog.DiscardHandler))
	if proof, err := p.Read(t.Context(), table(2, 1)); err != nil || proof.Holds {
		t.Errorf("not told yet: %+v, %v", proof, err)
	}
}

func TestUnreachableIsUnknown(t *testing.T) {
	for name, failure := range map[string]error{
		"refused": errors.New("dial tcp 10.0.0.4:7500: connect: connection refused"), "unauthorized": errors.New("status 401"),
	} {
		l := &line{answer: func(context.Context, routes.Table) (protocol.Applied, error) { return protocol.Applied{}, failure }}
		p := newProxy(t, l, slog.New(slog.DiscardHandler))
		for _, ask := range []func(context.Context, routes.Table) (routes.Proof, error){p.Apply, p.Read} {
			if _, err := ask(t.Context(), table(2, 1)); !errors.Is(err, failure) || errors.Is(err, routes.ErrNotRunning) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := &line{answer: func(ctx context.Context, _ routes.Table) (protocol.Applied, error) {
			<-ctx.Done()
			return protocol.Applied{}, errors.New("timeout")
		}}
		p := newProxy(t, l, slog.New(slog.DiscardHandler))
		began := time.Now()
		if _, err := p.Apply(t.Context(), table(2, 1)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, routes.ErrNotRunning) {
			t.Errorf("hangs: %v", err)
		}
		if took := time.Since(began); took != DefaultTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAHigherEpochIsToldOnce(t *testing.T) {
	var log strings.Builder
	number := uint64(9)
	p := newProxy(t, answers(func(r *protocol.Applied) { r.Older, r.Proof.Holds, r.Epoch.Number = true, false, number }),
		slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		if _, err := p.Read(t.Context(), table(2, 1)); err == nil {
			t.Fatal("taken")
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "epoch=1.9") {
		t.Errorf("told %d times: %s", n, log.String())
	}
	number = 10
	if _, err := p.Read(t.Context(), table(2, 1)); err == nil || strings.Count(log.String(), "level=ERROR") != 2 {
		t.Errorf("a higher one yet: %v: %s", err, log.String())
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Name: "ha1", Cluster: "shop", URL: "http://a:1"}
	for want, change := range map[string]func(*Config){
		"name is empty": func(c *Config) { c.Name = "" }, "cluster is empty": func(c *Config) { c.Cluster = "" },
		"sidecar is empty": func(c *Config) { c.URL = "" }, "negative": func(c *Config) { c.Timeout = -1 },
	} {
		config := good
		change(&config)
		if _, err := New(config, &line{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestWhatASidecarHasPutBackIsSeenOnce(t *testing.T) {
	run, repairs := "r", 3
	l := answers(func(r *protocol.Applied) {
		r.Run, r.Repairs = run, repairs
		if repairs > 0 {
			r.Strayed = &routes.Proof{Host: "db9:3306", Serving: true}
		}
	})
	p := newProxy(t, l, slog.New(slog.DiscardHandler))
	for _, test := range []struct {
		run     string
		repairs int
		holds   bool
	}{
		{"r", 3, true}, // what was before the first question is somebody else's
		{"r", 4, false}, {"r", 4, true}, {"r", 6, false}, {"r", 6, true},
		{"s", 0, true}, {"s", 1, false}, {"s", 1, true},
	} {
		run, repairs = test.run, test.repairs
		if proof, err := p.Read(t.Context(), table(2, 1)); err != nil || proof.Holds != test.holds || !test.holds && proof.Host != "db9:3306" {
			t.Errorf("run %s, %d repairs: %+v, %v", run, repairs, proof, err)
		}
		if proof, err := p.Apply(t.Context(), table(2, 1)); err != nil || !proof.Holds {
			t.Errorf("%+v, %v", proof, err)
		}
	}
}
