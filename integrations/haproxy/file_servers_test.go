//go:build servers

package haproxy_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReloadAndRestartComeBackWithTheFile: a HAProxy whose file is kept in step
// comes back with the current master by itself, or with nobody while one is
// withdrawn; and never with a former one, whatever its state file remembers.
func TestReloadAndRestartComeBackWithTheFile(t *testing.T) {
	for name, withState := range map[string]bool{"configuration": false, "with a server-state file": true} {
		t.Run(name, func(t *testing.T) {
			r, ctx := newReloaded(t, "")
			path, state := filepath.Join(r.stack.Dir(), "haproxy", "haproxy.cfg"), ""
			if withState {
				state = filepath.Join(t.TempDir(), "state")
				text, err := os.ReadFile(path)
				must(t, err)
				changed := strings.Replace(string(text), "hard-stop-after 1s", "hard-stop-after 1s\n  server-state-file "+state, 1)
				changed = strings.Replace(changed, "mode tcp\n", "mode tcp\n  load-server-state-from-file global\n", 1)
				must(t, os.WriteFile(path, []byte(changed), 0o600))
			}
			proxy := r.adapter(t, r.withMaster)
			file, err := proxy.File(path, state)
			must(t, err)
			backs := map[string]func(*testing.T, context.Context){
				"reload": r.reload, "restart": func(t *testing.T, ctx context.Context) { must(t, r.proxy.Restart(ctx)) },
			}
			revision := uint64(0)
			for _, master := range []string{r.a, "", r.b, "", r.a, r.b} {
				for way, back := range backs {
					// What an operator's script saves before a reload: the last state that was served.
					if withState {
						must(t, os.WriteFile(state, []byte(r.runtime(t, "show servers state")), 0o600))
					}
					revision++
					must(t, file.Keep(ctx, tableOf(revision, master)))
					back(t, ctx)
					if _, who := client(t, r.entrance); who != master {
						t.Fatalf("after the %s it led to %q, want %q", way, who, master)
					}
					if proof, err := proxy.Read(ctx, tableOf(revision, master)); err != nil || proof.Serving != (master != "") {
						t.Fatalf("after the %s: %+v, %v", way, proof, err)
					}
					if proof, err := proxy.Apply(ctx, tableOf(revision, master)); !holds(proof, err) {
						t.Fatalf("after the %s it cannot be told: %+v, %v", way, proof, err)
					}
				}
			}
		})
	}
}
