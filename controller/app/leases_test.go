package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/leases"
	"switchyard/controller/topology"
	"switchyard/sidecar/call"
	"switchyard/sidecar/protocol"
	"switchyard/store"
	"switchyard/store/ledger"
)

func register(t *testing.T, c *config.File, s *store.Store) *leases.Register {
	t.Helper()
	r, err := newRegister(c, "boot", s, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLeasesAtTheDoor: a sidecar renews at a controller's real door over its
// ledger, and another controller asks for its word there; each with its own secret.
func TestLeasesAtTheDoor(t *testing.T) {
	t.Parallel()
	c := file(t, 1, "clusters: [{name: shop, seeds: ['m:3306']}]\n"+
		"sidecars: {secret: between-them, lease: 3s, fence: 1s, databases: [{server: 'm:3306', http: 'http://127.0.0.1:1'}]}\n")
	s := open(t, c)
	parts := newTasks()
	m, err := newMetrics(newGauge(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(c, "boot", nil, newBulletin(c, s, parts), m, register(t, c, s), directories{}, carriage{}, quiet())
	if err := d.Listen(); err != nil {
		t.Fatal(err)
	}
	parts.run("http", d.Run)
	t.Cleanup(func() {
		if err := parts.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	master := topology.Key{Host: "m", Port: 3306}
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: master, At: time.Now()})
	base := "http://" + d.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	client := call.New("between-them")
	defer client.Wait()
	renew := protocol.Renew{Who: protocol.Who{Sidecar: "side", Run: "r", Boot: "b", Cluster: "shop", Server: "m:3306"},
		State: protocol.Writable, Holding: protocol.Held, FenceMS: 500, Tied: true}
	reply, err := call.Post[protocol.RenewReply](ctx, client, base, protocol.PathRenew, renew)
	if err != nil || reply.GrantMS != 3000 || reply.Controller != c.ID {
		t.Fatalf("%+v, %v", reply, err)
	}
	exit := protocol.Exit{Who: renew.Who, Kind: protocol.Clean, PID: 42}
	if noted, err := call.Post[protocol.ExitNoted](ctx, client, base, protocol.PathExit, exit); err != nil || noted.Controller != c.ID {
		t.Fatalf("%+v, %v", noted, err)
	}
	q := wire.WordRequest{Asker: "c2", Cluster: "shop", Server: master}
	word, err := adminapi.NewPeers(c.Secret.Reveal()).Word(ctx, base, q)
	if err != nil || word.Heard == nil || word.Heard.Sidecar != "side" || !word.Heard.Tied || word.Given {
		t.Fatalf("%+v, %v", word, err)
	}
	// Neither may speak as the other.
	stranger := call.New(c.Secret.Reveal())
	defer stranger.Wait()
	if _, err := call.Post[protocol.RenewReply](ctx, stranger, base, protocol.PathRenew, renew); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("renewed with the controllers' secret: %v", err)
	}
	if _, err := adminapi.NewPeers("between-them").Word(ctx, base, q); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a word for the sidecars' secret: %v", err)
	}
}

// The file of words that is damaged, at whatever length, refuses the start by its name
// and with what to do: what was in it must not be forgotten unseen.
func TestDamagedWordsAreNamed(t *testing.T) {
	t.Parallel()
	c := file(t, 1, shop)
	c.DataDir = t.TempDir()
	s := open(t, c)
	register(t, c, s)
	path := filepath.Join(c.DataDir, wordsName)
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) < 10 {
		t.Fatalf("%q, %v", whole, err)
	}
	for name, text := range map[string]string{
		"empty": "", "one byte": string(whole[:1]), "half": string(whole[:len(whole)/2]), "all but one byte": string(whole[:len(whole)-1]),
		"zeros": strings.Repeat("\x00", len(whole)), "garbage": strings.Repeat("\xff", 4096), "something else": `{"moon":1}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newRegister(c, "boot", s, quiet())
		var start *StartError
		if !errors.As(err, &start) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	register(t, c, s)
}
