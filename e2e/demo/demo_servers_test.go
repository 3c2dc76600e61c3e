//go:build servers

package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/e2e/demo"
	"switchyard/e2e/stack"
)

// binary builds the product; the stack that holds it ends with the test.
func binary(t *testing.T) string {
	t.Helper()
	st, err := stack.New(t.Context(), stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	path, err := st.BuildSwitchyard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// children are the processes that this one has started and that still are.
func children(t *testing.T) (found []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // It ended while we were looking.
		}
		text := string(content)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			found = append(found, text[:strings.LastIndexByte(text, ')')+1])
		}
	}
	return found
}

// ownTemp makes the demo use a directory in which nobody else leaves anything. Sockets want a short path.
func ownTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return dir
}

func nothingIsLeft(t *testing.T, temp string) {
	t.Helper()
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("directories are left: %v (%v)", left, err)
	}
}

func TestDemoEndsWithItsResult(t *testing.T) {
	for _, options := range []demo.Options{
		{Flavor: "mariadb", Fault: "crash", SemiSync: true},
		{Flavor: "mysql", Fault: "switchover"},
		{Flavor: "mariadb", Fault: "freeze"},
	} {
		t.Run(options.Flavor+" "+options.Fault, func(t *testing.T) {
			options.Binary, options.JSON = binary(t), true
			temp := ownTemp(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var stdout, story bytes.Buffer
			err := demo.Run(ctx, options, &stdout, &story)
			t.Logf("%s\n%s", story.String(), stdout.String())
			if err != nil {
				t.Fatal(err)
			}
			var result demo.Result
			if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
				t.Fatalf("stdout is not one JSON object: %v", err)
			}
			if result.OutageMS <= 0 || result.Acked < 500 || result.OldMaster == result.NewMaster ||
				result.EpochBefore == result.EpochAfter || len(result.PhasesMS) == 0 || result.Flavor != options.Flavor {
				t.Errorf("result %+v", result)
			}
			if (options.SemiSync || options.Fault == "switchover") && result.Lost != 0 {
				t.Errorf("%d acknowledged writes are lost", result.Lost)
			}
			nothingIsLeft(t, temp)
		})
	}
}

// watcher calls seen once, when a text has been written.
type watcher struct {
	mu   sync.Mutex
	text strings.Builder
	want string
	seen func()
	once sync.Once
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.want) {
		w.once.Do(w.seen)
	}
	return len(p), nil
}

func TestInterruptLeavesNothingBehind(t *testing.T) {
	for _, test := range []struct {
		when string
		keep bool
	}{
		{"starting 3 controllers", false},
		{"starting an application", false},
		{"yours until Ctrl-C", true},
	} {
		t.Run(test.when, func(t *testing.T) {
			program := binary(t)
			temp := ownTemp(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			stdout := &watcher{want: test.when, seen: cancel}
			err := demo.Run(ctx, demo.Options{Flavor: "mariadb", Fault: "crash", Keep: test.keep, Binary: program}, stdout, os.Stderr)
			if !strings.Contains(stdout.text.String(), test.when) {
				t.Errorf("never came to %q: %v\n%s", test.when, err, stdout.text.String())
			}
			// Ctrl-C is how a kept demo ends; before that it is an interruption.
			if (err == nil) != test.keep {
				t.Errorf("ended with %v", err)
			}
			nothingIsLeft(t, temp)
		})
	}
}
