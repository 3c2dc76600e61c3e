package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/ctl"
	"switchyard/e2e/certs"
	"switchyard/e2e/ports"
)

// secured are three controllers that call each other over TLS only, each with a
// certificate of its own, and know their users by tokens.
func secured(t *testing.T) ([]*config.File, *certs.CA) {
	ca := certs.New(t, "ours")
	addresses := ports.Free(t, 6)
	var all []*config.File
	for n := 1; n <= 3; n++ {
		pair := ca.Issue(t, fmt.Sprintf("c%d", n), []string{"127.0.0.1"})
		var text strings.Builder
		fmt.Fprintf(&text, "name: prod\nid: c%d\ndata_dir: data\nsecret: %s\ncontrollers:\n", n, secret)
		for i := range 3 {
			fmt.Fprintf(&text, "  - {id: c%d, raft: %s, http: https://%s, datacenter: dc1}\n", i+1, addresses[2*i], addresses[2*i+1])
		}
		fmt.Fprintf(&text, "http:\n  tls: {cert: %s, key: %s, ca: %s, client_ca: %s}\n  auth: token\n  users:\n"+
			"    - {name: kim, role: admin, token: the-token-of-kim}\n    - {name: mon, role: viewer, token: the-token-of-mon}\n",
			pair.Cert, pair.Key, ca.File, ca.File)
		text.WriteString("mysql: {user: u, password: p, replication: {user: r, password: p}}\nlog: {level: error}\n" + calm +
			"clusters: [{name: shop, seeds: ['127.0.0.1:1']}]\n")
		path := filepath.Join(t.TempDir(), "switchyard.yml")
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all, ca
}

// Whole controllers with certificates and tokens know each other, and record who
// has asked for what, also where a follower forwards it.
func TestControllersBehindTLSAndTokens(t *testing.T) {
	t.Parallel()
	files, _ := secured(t)
	for _, c := range files {
		wait, stop := run(t, c)
		defer func() {
			stop()
			if err := wait(); err != nil {
				t.Errorf("%s ended with %v", c.ID, err)
			}
		}()
	}
	ways := map[string]carriage{}
	for _, c := range files {
		way, err := newCarriage(c)
		if err != nil {
			t.Fatal(err)
		}
		ways[c.ID] = way
	}
	urls := map[string]string{}
	for _, c := range files {
		urls[c.ID] = c.Self().HTTP
	}
	follower := ""
	eventually(t, "one leads and the others follow, each seen over TLS", func() bool {
		states := ways["c1"].peers(files[0]).States(t.Context(), urls)
		follower = ""
		leaders := 0
		for id, state := range states {
			switch state {
			case "leader":
				leaders++
			case "follower":
				follower = id
			default:
				return false
			}
		}
		return leaders == 1
	})
	ask := func(token string, request wire.PauseRequest) (done wire.Done, err error) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		tls := files[1].HTTP.TLS
		env := map[string]string{"SWITCHYARD_CA": tls.CA, "SWITCHYARD_CERT": tls.Cert, "SWITCHYARD_KEY": tls.Key, "SWITCHYARD_TOKEN_FILE": path}
		client, err := ctl.NewSecureClient([]string{urls[follower]}, patience, func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return done, client.Post(ctx, wire.PathPause, request, &done)
	}
	pause := wire.PauseRequest{Asker: wire.Asker{By: "somebody else", Reason: "a new rack"}}
	eventually(t, "a follower forwards it, with whose it is", func() bool {
		done, err := ask("the-token-of-kim", pause)
		return err == nil && done.By == "kim"
	})
	eventually(t, "a viewer is refused", func() bool {
		_, err := ask("the-token-of-mon", pause)
		if err == nil {
			t.Fatal("a viewer paused it")
		}
		return strings.Contains(err.Error(), "mon has the role viewer")
	})
	if _, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), urls["c1"]); err == nil {
		t.Error("a caller without CA and certificate was answered")
	}
	if err := alone(t.Context(), ways["c1"], files[0], "another boot"); err == nil {
		t.Error("a second controller of this id would not have noticed the first")
	}
}
