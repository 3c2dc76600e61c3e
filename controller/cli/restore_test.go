package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/app"
	"switchyard/e2e/ports"
)

// alone writes the configuration of a single controller, and returns its path, its
// URL and its data directory.
func alone(t *testing.T, name string) (file, url, data string) {
	t.Helper()
	addresses := ports.Free(t, 2)
	dir := t.TempDir()
	file, data, url = filepath.Join(dir, "switchyard.yaml"), filepath.Join(dir, "data"), "http://"+addresses[1]
	text := fmt.Sprintf("name: %s\nid: c1\ndatacenter: dc1\ndata_dir: %s\nsecret: between\ncontrollers:\n"+
		"  - {id: c1, raft: '%s', http: '%s', datacenter: dc1}\n"+
		"mysql: {user: switchyard, password: x, replication: {user: r, password: y}}\n"+
		"clusters: [{name: shop, seeds: ['127.0.0.1:1']}]\n", name, data, addresses[0], url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, url, data
}

// running runs a controller until the function returned is called.
func running(t *testing.T, file string) func() {
	t.Helper()
	c, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- app.RunController(ctx, c) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// backUp asks for a backup until there is a leader.
func backUp(t *testing.T, url, to string) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		status, out, bad := program("backup", "--api", url, "--out", to)
		if status == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("status %d: %s%s", status, out, bad)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestBackupAndRestore(t *testing.T) {
	first, url, data := alone(t, "prod")
	stop := running(t, first)
	backup := filepath.Join(t.TempDir(), "ledger.backup")
	backUp(t, url, backup)
	stop()
	if status, _, bad := program("restore", "--config", first, "--from", backup); status == 0 || !strings.Contains(bad, "not empty") {
		t.Errorf("over a ledger: status %d: %s", status, bad)
	}
	foreign, _, _ := alone(t, "test")
	if status, _, bad := program("restore", "--config", foreign, "--from", backup); status == 0 || !strings.Contains(bad, `name is "test"`) {
		t.Errorf("into another: status %d: %s", status, bad)
	}
	if status, _, bad := program("restore", "--config", first); status != 2 || !strings.Contains(bad, "--from is missing") {
		t.Errorf("from nothing: status %d: %s", status, bad)
	}
	if err := os.Rename(data, data+".old"); err != nil {
		t.Fatal(err)
	}
	status, out, bad := program("restore", "--config", first, "--from", backup)
	if status != 0 || !strings.Contains(out, "--generation ") || !strings.Contains(out, `ledger of "prod"`) {
		t.Fatalf("status %d: %s%s", status, out, bad)
	}
	stop = running(t, first)
	defer stop()
	again := filepath.Join(t.TempDir(), "again.backup")
	backUp(t, url, again)
	generation := strings.Fields(out[strings.Index(out, "--generation ")+len("--generation "):])[0]
	text, err := os.ReadFile(again)
	if err != nil || !strings.Contains(string(text), `"generation":`+generation) {
		t.Errorf("%v: it does not go on with generation %s: %.300s", err, generation, text)
	}
}
