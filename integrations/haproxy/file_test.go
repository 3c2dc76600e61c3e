package haproxy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

const operators = "# ours, by hand\ndefaults\n  mode tcp\nbackend shop_writer\n  server master 192.0.2.1:3306 disabled inter # last word needs a value\n"

func newFile(t *testing.T, text string) (*File, string) {
	t.Helper()
	p, err := New(Config{Name: "ha1", Cluster: "shop", Target: "tcp://127.0.0.1:1",
		Backend: haproxy.Backend{Backend: "shop_writer", Server: "master"}}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	f, err := p.File(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

func announced(address string) routes.Table {
	host, _, _ := strings.Cut(address, ":")
	return routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 1}, Revision: 2,
		Writer: &routes.Server{Host: host, Port: 3306}}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeepChangesOneLineAndReplacesTheFile(t *testing.T) {
	f, path := newFile(t, operators)
	link := filepath.Join(t.TempDir(), "link.cfg")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f.path = link
	before, err := os.Open(path) // whoever reads it now reads it to its end
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = before.Close() }()
	if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(operators, "192.0.2.1:3306 disabled", "10.0.0.2:3306", 1)
	if got := read(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v: want the mode kept", info.Mode(), err)
	}
	if at, err := os.Lstat(link); err != nil || at.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link was replaced: %v, %v", at, err)
	}
	old := make([]byte, len(operators)+1)
	if n, _ := before.Read(old); string(old[:n]) != operators {
		t.Errorf("whoever had it open reads %q", old[:n])
	}
	if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(path); err != nil || !os.SameFile(again, info) {
		t.Errorf("written although nothing changed: %v", err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 2 || files[0].Name() != ".haproxy.cfg.spare" {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// TestAWithdrawalNeedsNoRoom: on a disk that is full it takes what was reserved.
func TestAWithdrawalNeedsNoRoom(t *testing.T) {
	f, path := newFile(t, operators)
	f.create = func(string, string) (*os.File, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); !errors.Is(err, syscall.ENOSPC) || read(t, path) != operators {
		t.Errorf("nothing was reserved: %v", err)
	}
	f.create = os.CreateTemp
	for range 2 { // it is reserved once nothing is to be changed
		if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); err != nil {
			t.Fatal(err)
		}
	}
	f.create = func(string, string) (*os.File, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	withdrawn := announced("10.0.0.2:3306")
	withdrawn.Epoch, withdrawn.Writer = withdrawn.Epoch.Next(), nil
	if err := f.Keep(t.Context(), withdrawn); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if got := read(t, path); got != operators || err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v:\n%q\nwant\n%q", info.Mode(), err, got, operators)
	}
}

// TestSomebodyElseWrites changes the file between its reading and its writing.
func TestSomebodyElseWrites(t *testing.T) {
	f, path := newFile(t, operators)
	mine := func(text string) (string, error) { return text + "# mine\n", nil }
	err := f.edit(path, func(text string) (string, error) {
		if err := os.WriteFile(path, []byte(text+"# theirs\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		return mine(text)
	})
	if !errors.Is(err, errMeanwhile) {
		t.Errorf("%v, want that somebody else writes", err)
	}
	if got := read(t, path); got != operators+"# theirs\n" {
		t.Errorf("overwritten: %q", got)
	}
	if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); !strings.HasSuffix(got, "# theirs\n") || !strings.Contains(got, "master 10.0.0.2:3306") {
		t.Errorf("got %q", got)
	}
}

func TestKeepRefuses(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	other := announced("10.0.0.2:3306")
	other.Cluster = "bar"
	for name, test := range map[string]struct {
		ctx   context.Context
		text  string
		table routes.Table
		want  string
	}{
		"another cluster": {t.Context(), operators, other, "the table is of"},
		"half a file":     {t.Context(), strings.TrimSuffix(operators, "# last word needs a value\n"), announced("10.0.0.2:3306"), "ends within a line"},
		"no such line":    {t.Context(), "backend x\n", announced("10.0.0.2:3306"), "correct the names"},
		"no time left":    {ended, operators, announced("10.0.0.2:3306"), "canceled"},
	} {
		f, path := newFile(t, test.text)
		if err := f.Keep(test.ctx, test.table); err == nil || !strings.Contains(err.Error(), test.want) ||
			!strings.Contains(err.Error(), "haproxy ha1") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if got := read(t, path); got != test.text {
			t.Errorf("%s: written: %q", name, got)
		}
	}
	f, path := newFile(t, operators)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Keep(t.Context(), announced("10.0.0.2:3306")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestTwoSlotsInOneFile: the masters of two clusters fail together, and neither's
// withdrawal undoes the other's.
func TestTwoSlotsInOneFile(t *testing.T) {
	const both = "backend shop_writer\n  server master 10.0.0.1:3306\nbackend till_writer\n  server master 10.0.0.2:3306\n"
	f, path := newFile(t, both)
	p, err := New(Config{Name: "ha2", Cluster: "till", Target: "tcp://127.0.0.1:1",
		Backend: haproxy.Backend{Backend: "till_writer", Server: "master"}}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.File(path, "")
	if err != nil {
		t.Fatal(err)
	}
	other.TakeTurns(f)
	// The other one comes while this one has read the file and not written it.
	ended := make(chan error, 1)
	f.create = func(dir, pattern string) (*os.File, error) {
		f.create = os.CreateTemp
		go func() {
			till := announced("10.0.0.2:3306")
			till.Cluster, till.Writer = "till", nil
			ended <- other.Keep(context.WithoutCancel(t.Context()), till)
		}()
		select {
		case err := <-ended:
			t.Error("it did not wait for its turn")
			ended <- err
		case <-time.After(50 * time.Millisecond): // It waits, or is slow.
		}
		return os.CreateTemp(dir, pattern)
	}
	shop := announced("10.0.0.1:3306")
	shop.Writer = nil
	if err := errors.Join(f.Keep(t.Context(), shop), <-ended); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); strings.Count(got, "192.0.2.1:3306 disabled") != 2 {
		t.Errorf("got\n%s", got)
	}
}
