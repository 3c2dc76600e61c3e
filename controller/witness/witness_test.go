package witness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/controller/witness"
)

const secret = "the controllers' own"

// patience bounds what comes at once; it is only used up by failures.
const patience = time.Minute

func k(host string) topology.Key { return topology.Key{Host: host, Port: 3306} }

// door is another controller: a real HTTP server on loopback.
type door struct {
	id   string
	url  string
	boot string
	// answer makes the reply; spoil, if not nil, changes what is sent.
	answer func(wire.WitnessRequest) wire.WitnessReply
	spoil  func(ctx *fasthttp.RequestCtx)
	// hangUp closes the next connection instead of answering on it.
	hangUp atomic.Bool
	asked  atomic.Int32
	conns  sync.Map
	count  atomic.Int32
	// shut ends a door that never answers.
	shut func()
}

// open starts a door; it sees db1 dead and everything else alive.
func open(t *testing.T, id string) *door {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{id: id, boot: "boot of " + id, url: "http://" + listener.Addr().String()}
	d.answer = func(r wire.WitnessRequest) wire.WitnessReply { return account(d.id, d.boot, r.Servers) }
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) { d.serve(t, ctx) },
		Logger:  log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.ShutdownWithContext(ctx); err != nil {
			t.Errorf("close the door of %s: %v", id, err)
		}
		if err := <-done; err != nil {
			t.Errorf("door of %s: %v", id, err)
		}
	})
	return d
}

func (d *door) serve(t *testing.T, ctx *fasthttp.RequestCtx) {
	d.asked.Add(1)
	if _, seen := d.conns.LoadOrStore(ctx.ConnID(), true); !seen {
		d.count.Add(1)
	}
	nonce, body := string(ctx.Request.Header.Peek(wire.HeaderNonce)), ctx.PostBody()
	want := wire.SignRequest(secret, "POST", wire.PathWitness, nonce, body)
	if !wire.VerifySignature(secret, string(ctx.Request.Header.Peek(wire.HeaderSignature)), want) || nonce == "" ||
		string(ctx.Method()) != "POST" || string(ctx.Path()) != wire.PathWitness {
		t.Errorf("a question that is not signed: %s", ctx.Request.String())
	}
	if strings.Contains(ctx.Request.String(), secret) {
		t.Errorf("the secret was sent: %s", ctx.Request.String())
	}
	var question wire.WitnessRequest
	if err := json.Unmarshal(body, &question); err != nil {
		t.Errorf("question %s: %v", body, err)
	}
	reply, err := json.Marshal(d.answer(question))
	if err != nil {
		t.Errorf("reply: %v", err)
	}
	ctx.SetBody(reply)
	if d.spoil != nil {
		d.spoil(ctx)
	}
	if d.hangUp.CompareAndSwap(true, false) {
		if err := ctx.Conn().Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if len(ctx.Response.Header.Peek(wire.HeaderSignature)) == 0 {
		ctx.Response.Header.Set(wire.HeaderSignature,
			wire.SignReply(secret, nonce, ctx.Response.StatusCode(), ctx.Response.Body()))
	}
}

func account(id, boot string, keys []topology.Key) wire.WitnessReply {
	now := time.Now()
	view := topology.View{Observer: id, At: now, Observations: map[topology.Key]topology.Observation{}}
	for _, key := range keys {
		o := topology.Observation{Key: key, Reach: topology.ReachOK, Begun: now, Ended: now, Fresh: true}
		if key == k("db1") {
			o.Reach, o.Error = topology.ReachRefused, "connection refused"
		} else {
			set, err := gtid.ParseMySQL("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23")
			if err != nil {
				panic(err)
			}
			o.Instance = &topology.Instance{Key: key, Flavor: gtid.MySQL, Executed: set}
		}
		view.Observations[key] = o
	}
	return wire.WitnessReply{Witness: id, Boot: boot, View: view}
}

func asker(t *testing.T, cfg witness.Config, doors ...*door) *witness.Asker {
	t.Helper()
	cfg.Self, cfg.Secret = "c1", secret
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	var peers []witness.Peer
	for _, d := range doors {
		peers = append(peers, witness.Peer{ID: d.id, URL: d.url + "/"})
	}
	cfg.Peers = func() []witness.Peer { return peers }
	client := witness.NewClient(nil)
	a, err := witness.New(cfg, client, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	t.Cleanup(a.Close)
	return a
}

func question() witness.Question {
	return witness.Question{Cluster: "main", Master: k("db1"), Servers: []topology.Key{k("db2"), k("db1"), k("db3")}}
}

func all([]witness.Answer) bool { return false }

func TestAllAreAskedAtOnce(t *testing.T) {
	doors := []*door{open(t, "c2"), open(t, "c3"), open(t, "c4")}
	var together sync.WaitGroup
	together.Add(len(doors))
	for _, d := range doors {
		answer := d.answer
		d.answer = func(r wire.WitnessRequest) wire.WitnessReply {
			if r.Asker != "c1" || r.Cluster != "main" || fmt.Sprint(r.Servers) != "[db1:3306 db2:3306 db3:3306]" ||
				r.WaitMS < 1 || r.WaitMS >= 9000 {
				t.Errorf("question %+v", r)
			}
			together.Done()
			together.Wait() // nobody answers before all were asked
			return answer(r)
		}
	}
	answers := asker(t, witness.Config{Timeout: 9 * time.Second}, doors...).AskUntil(t.Context(), question(), all)
	if len(answers) != 3 {
		t.Fatalf("%d answers", len(answers))
	}
	for _, a := range answers {
		dead, alive := a.View.Observations[k("db1")], a.View.Observations[k("db2")]
		if a.Err != nil || a.View.Observer != a.Observer || len(a.View.Observations) != 3 ||
			dead.Reach != topology.ReachRefused || alive.Instance == nil ||
			alive.Instance.Executed.String() != "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23" {
			t.Errorf("answer %+v", a)
		}
	}
}

func TestConnectionsAreKeptAndReplaced(t *testing.T) {
	d := open(t, "c2")
	a := asker(t, witness.Config{}, d)
	ask := func() {
		t.Helper()
		if got := a.AskUntil(t.Context(), question(), all); len(got) != 1 || got[0].Err != nil {
			t.Fatalf("answers %+v", got)
		}
	}
	ask()
	ask()
	if n := d.count.Load(); n != 1 {
		t.Errorf("two questions took %d connections", n)
	}
	d.hangUp.Store(true) // the other end closes the kept connection without a word
	ask()
	if n, asked := d.count.Load(), d.asked.Load(); n != 2 || asked != 4 {
		t.Errorf("%d connections for %d questions, want a second one for the repeated question", n, asked)
	}
}

// mute connects, and never answers.
func mute(t *testing.T, id string) *door {
	t.Helper()
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shut := sync.OnceFunc(func() {
		if err := silent.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(shut)
	return &door{id: id, url: "http://" + silent.Addr().String(), shut: shut}
}

// whole is long enough for all that answer, and is waited for in full where one
// does not.
const whole = 3 * time.Second

func TestAPeerThatDoesNotAnswer(t *testing.T) {
	good, mute := open(t, "c2"), mute(t, "c3")
	gone := &door{id: "c4", url: "http://127.0.0.1:1"}

	begun := time.Now()
	answers := asker(t, witness.Config{Timeout: whole}, good, mute, gone).AskUntil(t.Context(), question(), all)
	if took := time.Since(begun); took < whole-10*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	errs := map[string]error{}
	for _, answer := range answers {
		errs[answer.Observer] = answer.Err
	}
	if len(answers) != 3 || errs["c2"] != nil || errs["c3"] == nil || errs["c4"] == nil ||
		!strings.Contains(errs["c4"].Error(), "controller c4: ask at http://127.0.0.1:1") {
		t.Errorf("answers %v", errs)
	}

	defer mute.shut() // the call that is not waited for ends with it
	begun = time.Now()
	answers = asker(t, witness.Config{}, good, mute, gone).AskUntil(t.Context(), question(), func(got []witness.Answer) bool {
		for _, g := range got {
			if g.Err == nil {
				return true
			}
		}
		return false
	})
	if took := time.Since(begun); took > patience/2 || len(answers) == 0 || len(answers) > 2 {
		t.Errorf("%d answers after %s: want it to return as soon as c2 has answered", len(answers), took)
	}
}

func TestAMajorityIsEnough(t *testing.T) {
	good, mute := open(t, "c2"), mute(t, "c3")
	a := asker(t, witness.Config{Timeout: whole}, good, mute, &door{id: "c4", url: "http://127.0.0.1:1"})
	// A majority of these four is three, and only two say dead: all are waited for.
	begun := time.Now()
	views, silence := a.Ask(t.Context(), "main", k("db1"), nil)
	if took := time.Since(begun); took < whole-10*time.Millisecond || len(views) != 1 || len(silence) != 2 {
		t.Errorf("%d views and %v after %s", len(views), silence, took)
	}
	// One that sees the master alive is no reason to hurry.
	begun = time.Now()
	b := asker(t, witness.Config{Timeout: whole}, good, mute)
	if views, _ = b.Ask(t.Context(), "main", k("db2"), nil); len(views) != 1 || time.Since(begun) < whole-10*time.Millisecond {
		t.Errorf("%d views after %s", len(views), time.Since(begun))
	}
	// Of three controllers two are enough.
	defer mute.shut() // the call that is not waited for ends with it
	c := asker(t, witness.Config{}, good, mute)
	begun = time.Now()
	views, silence = c.Ask(t.Context(), "main", k("db1"), []topology.Key{k("db2")})
	if took := time.Since(begun); took > patience/2 || len(views) != 1 || len(silence) != 1 ||
		!strings.Contains(silence[0].Error(), "controller c3: no answer: it was not waited for") {
		t.Errorf("%d views and %v after %s", len(views), silence, took)
	}
}

func TestFalseWitness(t *testing.T) {
	reply := func(change func(*wire.WitnessReply)) func(*door) {
		return func(d *door) {
			d.answer = func(r wire.WitnessRequest) wire.WitnessReply {
				out := account(d.id, d.boot, r.Servers)
				change(&out)
				return out
			}
		}
	}
	observation := func(change func(*topology.Observation)) func(*door) {
		return reply(func(r *wire.WitnessReply) {
			o := r.View.Observations[k("db1")]
			change(&o)
			r.View.Observations[k("db1")] = o
		})
	}
	raw := func(status int, body string) func(*door) {
		return func(d *door) {
			d.spoil = func(ctx *fasthttp.RequestCtx) {
				ctx.SetStatusCode(status)
				ctx.SetBodyString(body)
			}
		}
	}
	signed := func(signature string) func(*door) {
		return func(d *door) {
			d.spoil = func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set(wire.HeaderSignature, signature) }
		}
	}
	const badSet = `{"view":{"Observations":{"db1:3306":{"Instance":{"Executed":"mysql:x"}}}}}`
	extra := func(r *wire.WitnessReply) { r.View.Observations[k("db9")] = r.View.Observations[k("db1")] }
	missing := func(r *wire.WitnessReply) { delete(r.View.Observations, k("db2")) }
	picture := func(o *topology.Observation) { o.Instance = &topology.Instance{} }
	for name, tc := range map[string]struct {
		spoil func(*door)
		want  string
	}{
		"another controller":    {reply(func(r *wire.WitnessReply) { r.Witness = "c9" }), `calls itself "c9"`},
		"another's view":        {reply(func(r *wire.WitnessReply) { r.View.Observer = "c9" }), `its view that of "c9"`},
		"a server left out":     {reply(missing), "leaves out db2:3306"},
		"a server too many":     {reply(extra), "has 4 servers, asked about 3"},
		"a reach of the future": {observation(func(o *topology.Observation) { o.Reach = "asleep" }), `reach "asleep" is not known`},
		"ok without a picture":  {observation(func(o *topology.Observation) { o.Reach = topology.ReachOK }), "nothing was read"},
		"dead with a picture":   {observation(picture), "something was read"},
		"of another server":     {observation(func(o *topology.Observation) { o.Key = k("db2") }), "it is about db2:3306"},
		"without times":         {observation(func(o *topology.Observation) { o.Begun = time.Time{} }), "times are impossible"},
		"not signed":            {signed("none"), "not signed with the controllers' shared secret"},
		"signed for another":    {signed(wire.SignReply(secret, "old", 200, []byte("{}"))), "not signed with the controllers' shared secret"},
		"rubbish":               {raw(200, "<html>"), "reply: invalid character"},
		"two accounts":          {raw(200, "{} {}"), "something follows the account"},
		"a bad GTID set":        {raw(200, badSet), "reply: "},
		"too long":              {raw(200, strings.Repeat(" ", witness.MaxReply+1)), "body size exceeds"},
		"no door":               {raw(404, "not found"), "status 404, and not a controller's answer: check its url"},
		"refused":               {raw(401, `{"code":"unauthorized","message":"no","remedy":"share it"}`), "status 401: no; share it"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "c2")
			tc.spoil(d)
			answers := asker(t, witness.Config{}, d).AskUntil(t.Context(), question(), all)
			if len(answers) != 1 || answers[0].Err == nil || !strings.Contains(answers[0].Err.Error(), tc.want) {
				t.Fatalf("answers %+v, want an error of %q", answers, tc.want)
			}
			if !strings.HasPrefix(answers[0].Err.Error(), "controller c2: ") || len(answers[0].View.Observations) != 0 {
				t.Errorf("answer %+v: want who it was, and no view", answers[0])
			}
			if strings.Contains(answers[0].Err.Error(), secret) {
				t.Errorf("the secret is in %v", answers[0].Err)
			}
		})
	}
}

func TestOneProcessTestifiesOnce(t *testing.T) {
	a, b := open(t, "c2"), open(t, "c3")
	b.boot = a.boot
	views, errs := asker(t, witness.Config{}, a, b).Ask(t.Context(), "main", k("db2"), nil)
	if len(views) != 1 || len(errs) != 1 || !strings.Contains(errs[0].Error(), "the same process as controller") {
		t.Errorf("%d views, errors %v", len(views), errs)
	}
}

func TestAloneNobodyIsAsked(t *testing.T) {
	if views, errs := asker(t, witness.Config{}).Ask(t.Context(), "main", k("db1"), nil); len(views)+len(errs) != 0 {
		t.Errorf("%v, %v", views, errs)
	}
}

func TestBadConfiguration(t *testing.T) {
	peer := func(id, url string) func() []witness.Peer {
		return func() []witness.Peer { return []witness.Peer{{ID: id, URL: url}} }
	}
	for want, cfg := range map[string]witness.Config{
		"self is empty":        {Secret: "s"},
		"secret is empty":      {Self: "c1", Peers: peer("c2", "http://h:1")},
		`peers[0]: id "c1"`:    {Self: "c1", Secret: "s", Peers: peer("c1", "http://h:1")},
		`peers[0]: id ""`:      {Self: "c1", Secret: "s", Peers: peer("", "http://h:1")},
		"(c2): url: want http": {Self: "c1", Secret: "s", Peers: peer("c2", "h:1")},
		"(c3): url: want http": {Self: "c1", Secret: "s", Peers: peer("c3", "ftp://h:1")},
		"(c4): url: want http": {Self: "c1", Secret: "s", Peers: peer("c4", "http://user:pass@h:1")},
	} {
		_, err := witness.New(cfg, witness.NewClient(nil), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// looker is what Testify asks.
type looker func(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View

func (l looker) Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View {
	return l(ctx, keys, fresh)
}

func TestTestify(t *testing.T) {
	looks := 0
	look := looker(func(_ context.Context, keys []topology.Key, _ map[topology.Key]bool) topology.View {
		looks++
		return account("c2", "", keys).View
	})
	for range 2 { // it looks each time: an account is never kept
		view, err := witness.Testify(t.Context(), look, wire.WitnessRequest{Asker: "c1", Servers: []topology.Key{k("db1")}})
		if err != nil || view.Observations[k("db1")].Reach != topology.ReachRefused {
			t.Errorf("%+v, %v", view, err)
		}
	}
	if looks != 2 {
		t.Errorf("it looked %d times for two questions", looks)
	}
	for want, servers := range map[string][]topology.Key{
		"0 entries": nil, "1001 entries": make([]topology.Key, 1001), "entry 1 is empty": {k("db1"), {}},
	} {
		if _, err := witness.Testify(t.Context(), look, wire.WitnessRequest{Servers: servers}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	late := looker(func(ctx context.Context, keys []topology.Key, _ map[topology.Key]bool) topology.View {
		<-ctx.Done()
		return account("c2", "", keys).View
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := witness.Testify(ctx, late, wire.WitnessRequest{Asker: "c1", Servers: []topology.Key{k("db1")}}); err == nil {
		t.Error("a look that was cut short passed for an account")
	}
}
