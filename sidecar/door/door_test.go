package door_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

type pages struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pages) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

const right, wrong = "the secret of all", "the secret of nobody"

// open returns the address of a door that answers one path, and its log.
func open(t *testing.T, answer func(context.Context, protocol.Exit) (protocol.ExitNoted, error)) (string, *pages) {
	t.Helper()
	log := &pages{}
	d := door.New(door.Config{Listen: "127.0.0.1:0", Secret: right}, slog.New(slog.NewTextHandler(log, nil)))
	d.Handle(protocol.PathExit, door.Answer(answer))
	if err := d.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + d.Addr().String(), log
}

func exit() protocol.Exit {
	return protocol.Exit{Kind: protocol.Clean, PID: 7, Who: protocol.Who{Sidecar: "s", Run: "r", Boot: "b", Cluster: "shop", Server: "db:3306"}}
}

func post(t *testing.T, secret, base, path string) (protocol.ExitNoted, error) {
	t.Helper()
	client := call.New(secret)
	defer client.Wait()
	return call.Post[protocol.ExitNoted](t.Context(), client, base, path, exit())
}

func TestOnlyWhoHasTheSecretIsHeard(t *testing.T) {
	heard := 0
	base, log := open(t, func(context.Context, protocol.Exit) (protocol.ExitNoted, error) {
		heard++
		return protocol.ExitNoted{Controller: "c1"}, nil
	})
	if got, err := post(t, right, base, protocol.PathExit); err != nil || got.Controller != "c1" || heard != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	var failure *wire.Error
	if _, err := post(t, wrong, base, protocol.PathExit); !errors.As(err, &failure) || failure.Code != wire.Unauthorized {
		t.Errorf("%v", err)
	}
	unsigned, err := http.Post(base+protocol.PathExit, "application/json", strings.NewReader("{}"))
	if err != nil || unsigned.StatusCode != http.StatusUnauthorized || unsigned.Body.Close() != nil {
		t.Errorf("%v: %v", unsigned, err)
	}
	if n := strings.Count(log.String(), "not signed with the secret"); heard != 1 || n != 2 || !strings.Contains(log.String(), "from=127.0.0.1:") {
		t.Errorf("heard %d, logged %d times:\n%s", heard, n, log)
	}
	if strings.Contains(log.String(), right) || strings.Contains(log.String(), wrong) {
		t.Errorf("the log tells a secret:\n%s", log)
	}
}

func TestWhatIsNotAnswered(t *testing.T) {
	base, log := open(t, func(context.Context, protocol.Exit) (protocol.ExitNoted, error) { panic("a bug") })
	var failure *wire.Error
	if _, err := post(t, right, base, "/elsewhere"); !errors.As(err, &failure) || failure.Code != wire.NotFound {
		t.Errorf("%v", err)
	}
	got, err := http.Get(base + protocol.PathExit)
	if err != nil || got.StatusCode != http.StatusMethodNotAllowed || got.Body.Close() != nil {
		t.Errorf("%v: %v", got, err)
	}
	if _, err := post(t, right, base, protocol.PathExit); !errors.As(err, &failure) || failure.Code != wire.Internal || !strings.Contains(log.String(), "a bug") {
		t.Errorf("%v", err)
	}
}
