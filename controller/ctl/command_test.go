package ctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/store/ledger"
)

// patience bounds what comes sooner; it is only used up by failures.
const patience = 90 * time.Second

// controller stands behind a real door. What it does not override would panic
// and fail the test with a status 500.
type controller struct {
	adminapi.Service
	id, leader string
	switchover func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error)
}

// member is a controller with an id.
type member interface {
	adminapi.Service
	name() string
}

func (c *controller) name() string { return c.id }

func (c *controller) Role() (bool, string) { return c.leader == c.id, c.leader }

func (c *controller) Status(context.Context) (wire.Status, error) {
	return wire.Status{Controller: c.id, Leader: c.leader}, nil
}

func (c *controller) Clusters(context.Context) ([]wire.Cluster, error) {
	return []wire.Cluster{{Name: "shop", Epoch: epoch(4), Master: key("db1.eu")}, {Name: "second"}}, nil
}

func (c *controller) Topology(_ context.Context, cluster string) (wire.Topology, error) {
	if cluster == "missing" {
		return wire.Topology{}, wire.NewError(wire.NotFound, "there is no cluster missing", "see switchyard clusters")
	}
	t := healthy()
	t.Cluster = cluster
	return t, nil
}

func (c *controller) Recoveries(_ context.Context, cluster string) ([]wire.Recovery, error) {
	r := recovery()
	r.Cluster = cluster
	return []wire.Recovery{r}, nil
}

func (c *controller) Recovery(context.Context, string) (wire.Recovery, error) { return recovery(), nil }

func (c *controller) Explain(_ context.Context, cluster string) (wire.Explanation, error) {
	return wire.Explanation{Cluster: cluster, Sentence: "said by " + c.id}, nil
}

func (c *controller) Switchover(ctx context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
	return c.switchover(ctx, r)
}

// start opens the door of a controller until the test ends.
func start(t *testing.T, c member, peers map[string]string) string {
	t.Helper()
	server := adminapi.New(adminapi.Config{Bind: "127.0.0.1:0", SelfID: c.name(), Peers: func() map[string]string { return peers }}, c, slog.New(slog.DiscardHandler))
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + server.Addr().String()
}

// silent takes connections and never answers; dead refuses them.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}

func dead(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return "http://" + listener.Addr().String()
}

// call runs a command line as main would.
func call(ctx context.Context, env map[string]string, args ...string) (string, error) {
	root := &cobra.Command{Use: "switchyard", SilenceErrors: true, SilenceUsage: true}
	ctl.Attach(root, ctl.Env{By: "kim@desk", Lookup: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}})
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func TestCommandsPrintTextAndJSON(t *testing.T) {
	url := start(t, &controller{id: "c1", leader: "c1"}, nil)
	env := map[string]string{ctl.Environment: url}
	second := healthy()
	second.Cluster = "second"
	for _, c := range []struct {
		line string
		text string
		json any
	}{
		{"topology shop", ctl.Tree(healthy()), &wire.Topology{}},
		{"topology", ctl.Tree(healthy()) + "\n" + ctl.Tree(second), &[]wire.Topology{}},
		{"clusters", "shop     db1.eu:3306  1.4", &[]wire.Cluster{}},
		{"status", "leader       c1", &wire.Status{}},
		{"recoveries", "shop-5", &[]wire.Recovery{}},
		{"recoveries --cluster other", "shop-5  other", &[]wire.Recovery{}},
		{"recoveries shop-5", ctl.Recovery(recovery()), &wire.Recovery{}},
		{"explain shop", "said by c1", &wire.Explanation{}},
	} {
		t.Run(c.line, func(t *testing.T) {
			out, err := call(t.Context(), env, strings.Fields(c.line)...)
			if err != nil || !strings.Contains(out, c.text) {
				t.Errorf("%v\ngot  %s\nwant %s", err, out, c.text)
			}
			out, err = call(t.Context(), nil, append(strings.Fields(c.line), "--format", "json", "--api", url)...)
			if err != nil {
				t.Fatal(err)
			}
			decoder := json.NewDecoder(strings.NewReader(out))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(c.json); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestLeaderIsFoundBesideDeadAndSilentOnes(t *testing.T) {
	leader := start(t, &controller{id: "c1", leader: "c1"}, nil)
	follower := start(t, &controller{id: "c2", leader: "c1"}, nil)
	apis := strings.Join([]string{dead(t), silent(t), follower}, ",")
	// A leader that is slow to answer is not waited for long, nor a silent one until
	// the search is over, after 3 s; on a busy machine it may take some attempts.
	for end := time.Now().Add(patience); ; {
		begun := time.Now()
		out, err := call(t.Context(), nil, "status", "--api", apis, "--api", leader)
		took := time.Since(begun)
		if err == nil && strings.Contains(out, "answered by  c1") && took < 3*time.Second {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after %s %v: %s", took, err, out)
		}
	}
}

// Without the leader's URL a follower is asked, and forwards.
func TestFollowerServesWhereTheLeaderIsNotNamed(t *testing.T) {
	leader := start(t, &controller{id: "c1", leader: "c1"}, nil)
	follower := start(t, &controller{id: "c2", leader: "c1"}, map[string]string{"c1": leader})
	for line, want := range map[string]string{"status": "answered by  c2", "explain shop": "said by c1"} {
		out, err := call(t.Context(), nil, append(strings.Fields(line), "--api", silent(t)+","+follower)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	gone, mute := dead(t), silent(t)
	_, err := call(t.Context(), nil, "status", "--timeout", "3s", "--api", strings.Join([]string{gone, mute, other.URL}, ","))
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"no controller answers", gone + ": cannot connect", "refused", mute + ": no answer",
		other.URL + ": status 404, and not a controller's answer",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not speak of %q", err, part)
		}
	}
}

func TestSwitchover(t *testing.T) {
	c := &controller{id: "c1", leader: "c1"}
	url := start(t, c, nil)
	for name, test := range map[string]struct {
		answer wire.Recovery
		err    error
		want   string
	}{
		"completed": {wire.Recovery{ID: "shop-6", Outcome: ledger.Completed}, nil, ""},
		"undone":    {wire.Recovery{ID: "shop-6", Outcome: ledger.Undone, Message: "db2 did not catch up"}, nil, "undone: db2 did not catch up"},
		"open":      {wire.Recovery{ID: "shop-6"}, nil, "not complete yet"},
		"refused":   {wire.Recovery{}, wire.NewError(wire.Refused, "db2 lags", "wait"), "db2 lags; wait"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan wire.SwitchoverRequest, 1)
			c.switchover = func(_ context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
				asked <- r
				return test.answer, test.err
			}
			out, err := call(t.Context(), nil, "switchover", "shop", "--to", "db2.eu", "--api", url, "--reason", "a new rack")
			if want := (wire.SwitchoverRequest{Cluster: "shop", To: key("db2.eu:3306"), By: "kim@desk", Reason: "a new rack"}); <-asked != want {
				t.Errorf("the controller was not asked for %+v", want)
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if test.err == nil && !strings.Contains(out, "shop-6") {
				t.Errorf("the recovery is not printed: %q", out)
			}
		})
	}
}

func TestMistakesAreUsageErrors(t *testing.T) {
	for line, part := range map[string]string{
		"status":                                       "SWITCHYARD_API",
		"status --api ,":                               "SWITCHYARD_API",
		"status --api ftp://x":                         "http://HOST:PORT",
		"status --api http://":                         "http://HOST:PORT",
		"status --api http://x/prefix":                 "nothing else",
		"status --api http://u:p@x":                    "nothing else",
		"status --api http://x --format yaml":          "text or json",
		"status --api http://x --timeout 0s":           "--timeout",
		"status extra --api http://x":                  "usage: switchyard status",
		"explain --api http://x":                       "CLUSTER is missing; usage: switchyard explain CLUSTER",
		"recoveries 1 extra --api http://x":            `"extra" is not known here; usage: switchyard recoveries [ID]`,
		"topology a/b --api http://x":                  `cluster "a/b"`,
		"explain a/b --api http://x":                   `cluster "a/b"`,
		"recoveries .. --api http://x":                 "recovery",
		"recoveries id --cluster c --api http://x":     "--cluster",
		"switchover shop --to db:0 --api http://x":     "--to",
		"switchover shop --to a/b --api http://x":      "--to",
		"topology --api http://x " + long() + " extra": "usage",
		"topology --api http://x " + long():            "300 bytes",
	} {
		_, err := call(t.Context(), nil, strings.Fields(line)...)
		var usage *ctl.UsageError
		if !errors.As(err, &usage) || usage.ExitCode() != 2 || !strings.Contains(err.Error(), part) {
			t.Errorf("%.60s: %v, want a usage error with %q", line, err, part)
		}
	}
}

// A variable of the shell that is not set must not turn a wish into another.
func TestEmptyFlagsAreUsageErrors(t *testing.T) {
	c := &controller{id: "c1", leader: "c1"}
	c.switchover = func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error) {
		t.Error("a switchover was begun")
		return wire.Recovery{}, nil
	}
	env := map[string]string{ctl.Environment: start(t, c, nil)}
	for _, args := range [][]string{
		{"switchover", "shop", "--to", ""}, {"switchover", "shop", "--to="}, {"switchover", "shop", "--api", ""},
		{"switchover", ""}, {"recoveries", "--cluster", ""}, {"recoveries", ""}, {"topology", ""},
	} {
		_, err := call(t.Context(), env, args...)
		var usage *ctl.UsageError
		if !errors.As(err, &usage) || usage.ExitCode() != 2 || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%q: %v, want a usage error", args, err)
		}
	}
}

func long() string { return strings.Repeat("x", 300) }

func TestControllersErrorsAreTold(t *testing.T) {
	url := start(t, &controller{id: "c1", leader: "c1"}, nil)
	_, err := call(t.Context(), nil, "topology", "missing", "--api", url)
	if err == nil || err.Error() != "there is no cluster missing; see switchyard clusters" {
		t.Errorf("error %v", err)
	}
	lonely := start(t, &controller{id: "c2"}, nil)
	_, err = call(t.Context(), nil, "explain", "shop", "--api", lonely)
	if err == nil || !strings.Contains(err.Error(), "controller c2 knows no leader") {
		t.Errorf("error %v", err)
	}
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := `{"id":"c1","leader":true}`
		if r.URL.Path != wire.PathLeaderCheck {
			body = `"a string"`
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	defer odd.Close()
	_, err = call(t.Context(), nil, "status", "--api", odd.URL)
	if err == nil || !strings.Contains(err.Error(), "not what this version of switchyard expects") {
		t.Errorf("error %v", err)
	}
}

func TestInterruptEndsACommandAtOnce(t *testing.T) {
	entered := make(chan struct{})
	c := &controller{id: "c1", leader: "c1"}
	c.switchover = func(ctx context.Context, _ wire.SwitchoverRequest) (wire.Recovery, error) {
		close(entered)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
		return wire.Recovery{ID: "shop-6", Outcome: ledger.Completed}, nil
	}
	url := start(t, c, nil)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() { <-entered; interrupt() }()
	begun := time.Now()
	_, err := call(ctx, nil, "switchover", "shop", "--api", url)
	if !errors.Is(err, context.Canceled) || time.Since(begun) > patience/2 {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	ctx, interrupt = context.WithCancel(t.Context())
	interrupt()
	if _, err = call(ctx, nil, "status", "--api", silent(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("while the leader is looked for: %v", err)
	}
}
