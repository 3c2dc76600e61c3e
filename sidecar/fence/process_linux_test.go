package fence

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const asServer = "SWITCHYARD_FENCE_TEST_SERVER"

// TestMain lets the test binary be a server of its own: it listens, says so,
// and ends as it is told on its standard input.
func TestMain(m *testing.M) {
	path := os.Getenv(asServer)
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := net.Listen("unix", path); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("listening\n")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	status, _ := strconv.Atoi(strings.TrimSpace(line))
	os.Exit(status)
}

type child struct {
	*exec.Cmd
	in   io.Writer
	reap func() error
}

// start starts a server that listens on path; reaped at the end of the test.
func start(t *testing.T, path string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	reap := sync.OnceValue(cmd.Wait)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = reap() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "listening\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return &child{cmd, in, reap}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// kernelTells is whether this kernel says how a process ended.
func kernelTells(t *testing.T) bool {
	t.Helper()
	var name syscall.Utsname
	must(t, syscall.Uname(&name))
	var release []byte
	for _, c := range name.Release {
		release = append(release, byte(c))
	}
	parts := strings.SplitN(string(release), ".", 3)
	major, err := strconv.Atoi(parts[0])
	must(t, err)
	minor, err := strconv.Atoi(parts[1])
	must(t, err)
	return major > 6 || major == 6 && minor >= 15
}

func TestHowAProcessEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*child) error
		want Exit
	}{
		"by itself": {func(c *child) error { _, err := c.in.Write([]byte("0\n")); return err }, Exit{Kind: Clean}},
		"an error":  {func(c *child) error { _, err := c.in.Write([]byte("3\n")); return err }, Exit{Failed, 3}},
		"a signal":  {func(c *child) error { return c.Process.Signal(syscall.SIGTERM) }, Exit{Killed, int(syscall.SIGTERM)}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, path := bounded(t), filepath.Join(t.TempDir(), "s")
			c := start(t, path)
			p, err := Find(ctx, Place{Socket: path})
			must(t, err)
			defer p.Close()
			if p.PID() != c.Process.Pid {
				t.Fatalf("found %d, started %d", p.PID(), c.Process.Pid)
			}
			go func() { _ = c.reap() }() // its parent reaps it, as systemd would
			must(t, test.end(c))
			got, err := p.Wait(ctx)
			must(t, err)
			want := test.want
			if !kernelTells(t) {
				want = Exit{Kind: Vanished}
			}
			if got != want {
				t.Errorf("%s %d, want %s %d", got.Kind, got.Status, want.Kind, want.Status)
			}
			must(t, p.Kill()) // who is gone is no error
		})
	}
}

func TestPIDFileTellsWhatTheKernelDoesNot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := &Process{pid: 4711, file: file}
	if got := p.byFile(); got.Kind != Clean {
		t.Errorf("removed: %s", got.Kind)
	}
	for _, text := range []string{"4711\n", "4712\n", "", "nonsense"} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if got := p.byFile(); got.Kind != Vanished {
			t.Errorf("%q: %s", text, got.Kind)
		}
	}
	if got := (&Process{pid: 4711}).byFile(); got.Kind != Vanished {
		t.Errorf("no pid file: %s", got.Kind)
	}
}

func TestFrozenProcessIsFoundAndKilled(t *testing.T) {
	ctx, path := bounded(t), filepath.Join(t.TempDir(), "s")
	c := start(t, path)
	must(t, c.Process.Signal(syscall.SIGSTOP))
	p, err := Find(ctx, Place{Socket: path})
	must(t, err)
	defer p.Close()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it has not ended: %v", err)
	}
	go func() { _ = c.reap() }()
	must(t, p.Kill())
	if got, err := p.Wait(ctx); err != nil || kernelTells(t) && got != (Exit{Killed, 9}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhoIsNotFound(t *testing.T) {
	ctx, dir := bounded(t), t.TempDir()
	path := filepath.Join(dir, "s")
	if _, err := Find(ctx, Place{Socket: path}); !errors.Is(err, ErrNoProcess) {
		t.Errorf("no socket: %v", err)
	}
	c := start(t, path)
	must(t, c.Process.Kill())
	_ = c.reap()
	if _, err := Find(ctx, Place{Socket: path}); !errors.Is(err, ErrNoProcess) {
		t.Errorf("a socket that was left behind: %v", err)
	}
	mine := filepath.Join(dir, "mine")
	l, err := net.Listen("unix", mine)
	must(t, err)
	defer func() { must(t, l.Close()) }()
	if _, err := Find(ctx, Place{Socket: mine}); err == nil || !strings.Contains(err.Error(), "this process itself") {
		t.Errorf("ourselves: %v", err)
	}
}

func TestLetGo(t *testing.T) {
	ctx, path := bounded(t), filepath.Join(t.TempDir(), "s")
	c := start(t, path)
	p, err := Find(ctx, Place{Socket: path})
	must(t, err)
	waiting, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Wait(waiting)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	p.Close()
	p.Close()
	if _, err := p.Wait(ctx); err == nil {
		t.Error("waited for a process that was let go")
	}
	if err := p.Kill(); err == nil {
		t.Error("killed a process that was let go")
	}
	must(t, c.Process.Signal(syscall.Signal(0))) // it lives
}
