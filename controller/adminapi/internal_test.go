package adminapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

func question() wire.WitnessRequest {
	return wire.WitnessRequest{
		Asker: "c2", Cluster: "main", WaitMS: 9000, Servers: []topology.Key{key("db1"), {Host: "::1", Port: 3307}},
	}
}

func TestWitnessAnswersAController(t *testing.T) {
	svc := full()
	reply := svc.witness
	svc.witness = func(ctx context.Context, r wire.WitnessRequest) (wire.WitnessReply, error) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 9*time.Second {
			t.Errorf("the witness has until %v, which is not wait_ms", end)
		}
		return reply(ctx, r)
	}
	d := open(t, adminapi.Config{SelfID: "c1", Boot: "b7", Name: "host1", Secret: secret}, svc)
	got, err := adminapi.NewPeers(secret).Ask(t.Context(), d.url, question())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range question().Servers {
		if o := got.View.Observations[k]; o.Key != k || o.Reach != topology.ReachRefused || !o.Fresh {
			t.Errorf("observation of %s: %+v", k, o)
		}
	}
	who, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), d.url)
	if want := (wire.WhoAmI{ID: "c1", Boot: "b7", Name: "host1"}); err != nil || who != want {
		t.Errorf("whoami %+v, %v; want %+v", who, err, want)
	}
}

func TestInternalCallsNeedTheSecret(t *testing.T) {
	svc := full()
	svc.witness = func(context.Context, wire.WitnessRequest) (wire.WitnessReply, error) {
		t.Error("an unsigned question reached the witness")
		return wire.WitnessReply{}, nil
	}
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret}, svc)
	keyless := open(t, adminapi.Config{SelfID: "c1"}, svc)
	for _, other := range []struct {
		door   door
		secret string
	}{{d, "another secret"}, {d, ""}, {keyless, ""}, {keyless, secret}} {
		_, err := adminapi.NewPeers(other.secret).Ask(t.Context(), other.door.url, question())
		if err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("with secret %q: %v", other.secret, err)
		}
	}
	const body = `{"asker":"c2"}`
	good := wire.SignRequest(secret, "POST", wire.PathWitness, "n1", []byte(body))
	for name, header := range map[string][]string{
		"nothing":       nil,
		"no nonce":      {wire.HeaderSignature, wire.SignRequest(secret, "POST", wire.PathWitness, "", []byte(body))},
		"other nonce":   {wire.HeaderNonce, "n2", wire.HeaderSignature, good},
		"plain secret":  {wire.HeaderNonce, "n1", wire.HeaderSignature, secret},
		"bearer":        {"Authorization", "Bearer " + secret},
		"for a get":     {wire.HeaderNonce, "n1", wire.HeaderSignature, wire.SignRequest(secret, "GET", wire.PathWitness, "n1", []byte(body))},
		"another body":  {wire.HeaderNonce, "n1", wire.HeaderSignature, wire.SignRequest(secret, "POST", wire.PathWitness, "n1", nil)},
		"another call":  {wire.HeaderNonce, "n1", wire.HeaderSignature, wire.SignRequest(secret, "POST", wire.PathWhoAmI, "n1", []byte(body))},
		"a reply's own": {wire.HeaderNonce, "n1", wire.HeaderSignature, wire.SignReply(secret, "n1", 200, []byte(body))},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, send(t, "POST", d.url+wire.PathWitness, body, header...), 401, wire.Unauthorized, "shared secret")
		})
	}
	// With the right signature the same body gets as far as its fields.
	a := send(t, "POST", d.url+wire.PathWitness, body, wire.HeaderNonce, "n1", wire.HeaderSignature, good)
	wantError(t, a, 400, wire.BadRequest, `field "cluster"`)
	if log := d.log.String(); !strings.Contains(log, "refused") || strings.Contains(log, secret) {
		t.Errorf("refusals are logged, secrets are not: %s", log)
	}
}

func TestBadQuestions(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret}, full())
	for name, c := range map[string]struct {
		spoil func(*wire.WitnessRequest)
		part  string
	}{
		"no asker":   {func(r *wire.WitnessRequest) { r.Asker = "" }, `field "asker"`},
		"no cluster": {func(r *wire.WitnessRequest) { r.Cluster = "" }, `field "cluster"`},
		"no servers": {func(r *wire.WitnessRequest) { r.Servers = nil }, `field "servers": has 0 entries`},
		"empty key":  {func(r *wire.WitnessRequest) { r.Servers[1] = topology.Key{} }, `entry 1 is empty`},
		"many":       {func(r *wire.WitnessRequest) { r.Servers = make([]topology.Key, 1001) }, `1001 entries`},
		"no time":    {func(r *wire.WitnessRequest) { r.WaitMS = 0 }, `field "wait_ms"`},
		"too long":   {func(r *wire.WitnessRequest) { r.WaitMS = 10_001 }, `field "wait_ms"`},
	} {
		t.Run(name, func(t *testing.T) {
			q := question()
			c.spoil(&q)
			_, err := adminapi.NewPeers(secret).Ask(t.Context(), d.url, q)
			if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), c.part) {
				t.Errorf("error %v, want 400 and %q", err, c.part)
			}
		})
	}
}

// Somebody in between must not be able to testify.
func TestForgedRepliesAreRefused(t *testing.T) {
	for name, signature := range map[string]func(nonce string, body []byte) string{
		"none":         func(string, []byte) string { return "" },
		"other secret": func(n string, b []byte) string { return wire.SignReply("guess", n, 200, b) },
		"replayed":     func(_ string, b []byte) string { return wire.SignReply(secret, "an old nonce", 200, b) },
		"other status": func(n string, b []byte) string { return wire.SignReply(secret, n, 503, b) },
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(`{"id":"c1"}`)
			forger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(wire.HeaderSignature, signature(r.Header.Get(wire.HeaderNonce), body))
				if _, err := w.Write(body); err != nil {
					t.Error(err)
				}
			}))
			defer forger.Close()
			_, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), forger.URL)
			if err == nil || !strings.Contains(err.Error(), "not signed") {
				t.Errorf("error %v", err)
			}
		})
	}
}
