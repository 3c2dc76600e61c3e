package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"switchyard/controller/config"
	sidecar "switchyard/sidecar/config"
)

func program(args ...string) (status int, stdout, stderr string) {
	var out, bad bytes.Buffer
	status = Run(append([]string{}, args...), &out, &bad)
	return status, out.String(), bad.String()
}

func TestMistakesEndWithStatusTwoAndOneSentence(t *testing.T) {
	t.Setenv("SWITCHYARD_API", "")
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("nmae: prod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, parts := range map[string][]string{
		"bogus":                             {`"bogus"`, "--help"},
		"controller":                        {"--config"},
		"controller --config /no/such/file": {"/no/such/file"},
		"controller --config " + wrong:      {wrong, "nmae"},
		"controller --bogus":                {"--bogus"},
		"controller extra":                  {"extra"},
		"config bogus":                      {"bogus"},
		"haproxy config":                    {"CLUSTER"},
		"haproxy config shop":               {"--config"},
		"restore":                           {"--config"},
		"version extra":                     {"extra"},
		"haproxy config shop extra":         {"extra", "usage"},
		"status":                            {"SWITCHYARD_API"},
		"explain":                           {"CLUSTER is missing", "usage: switchyard explain CLUSTER"},
	} {
		status, out, bad := program(strings.Fields(line)...)
		if status != 2 || out != "" || strings.Count(bad, "\n") != 1 || !strings.HasPrefix(bad, "switchyard: ") {
			t.Errorf("%s: status %d, stdout %q, stderr %q", line, status, out, bad)
		}
		for _, part := range parts {
			if !strings.Contains(bad, part) {
				t.Errorf("%s: %q does not name %s", line, bad, part)
			}
		}
	}
}

func TestCommandsThatNeedNobody(t *testing.T) {
	if status, out, _ := program("version"); status != 0 || !strings.HasPrefix(out, "switchyard "+version) {
		t.Errorf("version: status %d: %s", status, out)
	}
	if status, out, _ := program("config", "example"); status != 0 || out != config.Example() {
		t.Errorf("config example: status %d", status)
	}
	if status, out, _ := program("config", "example", "--sidecar"); status != 0 || out != sidecar.Example() {
		t.Errorf("config example --sidecar: status %d", status)
	}
	status, out, _ := program()
	for _, command := range []string{
		"controller", "topology", "switchover", "explain", "recoveries", "clusters", "status", "proxies", "audit", "recover", "failover", "move",
		"detach", "reattach", "set-read-only", "begin-downtime", "end-downtime", "promotion-rule", "pause", "resume", "ack",
		"backup", "restore", "adopt",
	} {
		if status != 0 || !strings.Contains(out, "\n  "+command+" ") {
			t.Errorf("status %d: the help does not list %s", status, command)
		}
	}
}

func TestHAProxyFilesAreWritten(t *testing.T) {
	for name, value := range map[string]string{"SWITCHYARD_SECRET": "a", "SWITCHYARD_MYSQL_PASSWORD": "b", "SWITCHYARD_REPLICATION_PASSWORD": "c"} {
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "switchyard.yaml")
	if err := os.WriteFile(file, []byte(config.Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, bad := program("haproxy", "config", "shop", "--config", file, "--out", dir); status != 0 || out != "" {
		t.Fatalf("status %d: %s%s", status, out, bad)
	}
	text, err := os.ReadFile(filepath.Join(dir, "haproxy.cfg"))
	if want := "lua-load-per-thread " + filepath.Join(dir, "switchyard.lua") + "\n"; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%v: %q is not in %s", err, want, text)
	}
	script, err := os.ReadFile(filepath.Join(dir, "switchyard.lua"))
	status, printed, _ := program("haproxy", "config", "shop", "--config", file, "--lua")
	if err != nil || status != 0 || printed != string(script) || !strings.Contains(printed, "register_action") {
		t.Errorf("%v, status %d: the script is %q, printed %q", err, status, script, printed)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("%v: %q are left", err, left)
	}
	status, out, bad := program("haproxy", "config", "shop", "--config", file, "--out", filepath.Join(dir, "none"))
	if status == 0 || out != "" || !strings.Contains(bad, filepath.Join(dir, "none")) {
		t.Errorf("no such directory: status %d: %s%s", status, out, bad)
	}
}

func TestHAProxyConfigOfASidecarsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sidecar.yaml")
	text := "name: edge\ndatacenter: dc1\nstate_dir: state\nlisten: 127.0.0.1:7500\nsecret: between\n" +
		"controllers: [{id: c1, http: 'http://127.0.0.1:7400'}]\n" +
		"haproxy: [{name: ha1, cluster: shop, runtime: 'tcp://127.0.0.1:9990', listen: '127.0.0.1:3307', file: haproxy.cfg}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, bad := program("haproxy", "config", "shop", "--config", file, "--sidecar")
	if status != 0 || !strings.Contains(out, "bind 127.0.0.1:3307") {
		t.Errorf("status %d: %s%s", status, out, bad)
	}
	if status, _, bad := program("haproxy", "config", "shop", "--config", file); status != 2 || bad == "" {
		t.Errorf("as a controller's file: status %d: %s", status, bad)
	}
}

func TestRunningCommandEndsOnASignal(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept() // the command is waiting for an answer
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}()
	status, out, bad := program("status", "--api", listener.Addr().String())
	if status != interrupted || out != "" || bad != "switchyard: interrupted\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, bad)
	}
}
