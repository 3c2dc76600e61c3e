package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchyard/controller/config"
)

func program(args ...string) (status int, stdout, stderr string) {
	var out, bad bytes.Buffer
	status = Run(args, &out, &bad)
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
	status, out, _ := program()
	for _, command := range []string{"controller", "topology", "switchover", "explain", "recoveries", "clusters", "status"} {
		if status != 0 || !strings.Contains(out, "\n  "+command+" ") {
			t.Errorf("status %d: the help does not list %s", status, command)
		}
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
	begun := time.Now()
	status, out, bad := program("status", "--api", listener.Addr().String())
	if status != interrupted || out != "" || bad != "switchyard: interrupted\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, bad)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}
