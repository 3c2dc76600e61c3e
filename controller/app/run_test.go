package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/config"
)

func TestRootCause(t *testing.T) {
	start := &StartError{errors.New("haproxy[0]: odd")}
	bind := &adminapi.BindError{Bind: "x"}
	other := errors.New("other")
	for _, c := range []struct{ err, want error }{
		{fmt.Errorf("could not build arguments for function f: %w", start), start},
		{fmt.Errorf("OnStart hook failed: %w", bind), bind},
		{errors.Join(other, start), start},
		{other, other},
	} {
		if got := rootCause(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
	if start.ExitCode() != 2 || bind.ExitCode() != 2 || !errors.Is(start, start.err) || start.Error() != "haproxy[0]: odd" {
		t.Errorf("%d %d %v", start.ExitCode(), bind.ExitCode(), start)
	}
}

func TestTasksEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTasks()
		var ended atomic.Int32
		for range 3 {
			tk.run("part", func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(2 * time.Second)
				ended.Add(1)
				return nil
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := tk.stop(ctx); err != nil || ended.Load() != 3 {
			t.Errorf("%v, %d ended", err, ended.Load())
		}
		select {
		case err := <-tk.failed:
			t.Errorf("a part that was asked to end failed: %v", err)
		default:
		}
	})
}

// The first part that fails, or ends by itself, is what the controller ends with.
func TestTasksTellTheFirstFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{{errors.New("disk full"), "store: disk full"}, {nil, "store: it ended by itself"}} {
		synctest.Test(t, func(t *testing.T) {
			tk := newTasks()
			tk.run("store", func(context.Context) error { return c.err })
			synctest.Wait()
			tk.run("http", func(context.Context) error { return errors.New("later") })
			tk.run("loop", func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})
			synctest.Wait() // the second failure has blocked nobody
			if err := <-tk.failed; err.Error() != c.want || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if err := tk.stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A part that cannot end well says so, and it is told.
func TestTasksTellWhatFailsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTasks()
		lost := errors.New("the last entry was not written")
		tk.run("store", func(ctx context.Context) error {
			<-ctx.Done()
			return lost
		})
		if err := tk.stop(t.Context()); !errors.Is(err, lost) || !strings.Contains(err.Error(), "store") {
			t.Errorf("%v", err)
		}
	})
}

func TestTasksThatDoNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTasks()
		release := make(chan struct{})
		tk.run("hung", func(context.Context) error {
			<-release
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		began := time.Now()
		if err := tk.stop(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 15*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		close(release)
	})
}

// Whoever answers at this controller's address is this very process, or there
// are two controllers with one id.
func TestAlone(t *testing.T) {
	t.Parallel()
	c := file(t, 3, shop)
	check := func(boot string, want bool) {
		t.Helper()
		err := alone(t.Context(), carriage{}, c, boot)
		var start *StartError
		if (err == nil) != want || err != nil && (!errors.As(err, &start) || start.ExitCode() != 2 ||
			!strings.Contains(err.Error(), c.Self().HTTP) || !strings.Contains(err.Error(), `"c1"`)) {
			t.Errorf("boot %q: %v", boot, err)
		}
	}
	check("", true)
	serve(t, adminapi.Config{Bind: c.Bind.HTTP, SelfID: "c1", Boot: "boot-of-the-other"}, tongue{})
	check("", false)
	check("boot-of-this-one", false)
	check("boot-of-the-other", true)
	c.Secret = "another secret, of other controllers"
	check("", true) // it cannot be asked who it is
	c.Secret = secret
	c.ID = "c3"
	if err := alone(t.Context(), carriage{}, c, ""); err != nil {
		t.Errorf("nobody answers for c3: %v", err)
	}
}

// An address at which nobody ever answers holds nothing up.
func TestAloneHasADeadline(t *testing.T) {
	t.Parallel()
	c := file(t, 1, shop)
	busy(t, c.Bind.HTTP) // it takes connections, and says nothing
	began := time.Now()
	if err := alone(t.Context(), carriage{}, c, ""); err != nil || time.Since(began) > patience {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// run starts a whole controller; the functions returned wait for its end, and
// ask for it.
func run(t *testing.T, c *config.File) (wait func() error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- RunController(ctx, c) }()
	return func() error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("it did not end")
			return nil
		}
	}, cancel
}

// A controller without any database server starts, answers for itself, keeps a
// second one with its id out, and ends when asked to.
func TestControllerStartsAndEnds(t *testing.T) {
	t.Parallel()
	c := file(t, 1, "clusters: [{name: shop, seeds: ['127.0.0.1:1']}]\nlog: {level: error}\n")
	wait, stop := run(t, c)
	defer stop()
	eventually(t, "it answers", func() bool {
		who, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), c.Self().HTTP)
		return err == nil && who.ID == "c1" && who.Boot != ""
	})
	second, _ := run(t, c)
	var start *StartError
	if err := second(); !errors.As(err, &start) {
		t.Errorf("the second: %v", err)
	}
	stop()
	if err := wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	again, stopAgain := run(t, c) // all that it held was given back
	eventually(t, "it answers again", func() bool {
		_, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), c.Self().HTTP)
		return err == nil
	})
	stopAgain()
	if err := again(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestControllerThatCannotStart(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"http", "raft", "data_dir"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			c := file(t, 1, shop+"log: {level: error}\n")
			switch where {
			case "http":
				busy(t, c.Bind.HTTP)
			case "raft":
				busy(t, c.Bind.Raft)
			default:
				c.DataDir = "/dev/null/data"
			}
			wait, stop := run(t, c)
			defer stop()
			err := wait()
			var code interface{ ExitCode() int }
			if !errors.As(err, &code) || code.ExitCode() != 2 || !strings.Contains(err.Error(), where) && where != "data_dir" {
				t.Errorf("%v", err)
			}
			for _, machinery := range []string{"fx", "\n", "could not build"} {
				if strings.Contains(err.Error(), machinery) {
					t.Errorf("the operator is told of the machinery: %v", err)
				}
			}
		})
	}
}
