// Package app is the roof of a controller: it builds the parts, binds them to
// each other, and starts and stops them in order.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.uber.org/fx"

	"switchyard/controller/adminapi"
	"switchyard/controller/config"
)

// stopTime bounds how long the parts may take to end.
const stopTime = 15 * time.Second

// Boot is a number that is new in each process.
type Boot string

// RunController runs a controller until ctx ends or one of its parts fails. An
// error with exit code 2 means that nothing was begun.
func RunController(ctx context.Context, c *config.File) error {
	way, err := newCarriage(c)
	if err != nil {
		return err
	}
	if err := alone(ctx, way, c, ""); err != nil {
		return err
	}
	if err := bindable(ctx, c); err != nil {
		return err
	}
	tasks := newTasks()
	defer tasks.cancel()
	app := fx.New(
		fx.NopLogger,
		fx.StartTimeout(30*time.Second), fx.StopTimeout(stopTime),
		fx.Supply(c, way, Boot(rand.Text()), tasks),
		fx.Provide(newLogger),
		watching(), remembering(), telling(), deciding(),
		fx.Invoke(start),
	)
	if err := app.Err(); err != nil {
		return rootCause(err)
	}
	if err := app.Start(ctx); err != nil {
		return rootCause(err)
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-tasks.failed:
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(failed, app.Stop(stopping))
}

// rootCause drops what fx says of its own constructors: an operator needs the
// sentence of the part that could not start.
func rootCause(err error) error {
	var start *StartError
	var bind *adminapi.BindError
	switch {
	case errors.As(err, &start):
		return start
	case errors.As(err, &bind):
		return bind
	}
	return err
}

func newLogger(c *config.File) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Log.Level.Slog()}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if c.Log.Format == config.LogJSON {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	return slog.New(handler).With("controller", c.ID)
}

// tasks owns the goroutines of the parts that run.
type tasks struct {
	ctx    context.Context //nolint:containedctx // it is the life of what this value owns
	cancel context.CancelFunc
	failed chan error
	wg     sync.WaitGroup
}

func newTasks() *tasks {
	ctx, cancel := context.WithCancel(context.Background())
	return &tasks{ctx: ctx, cancel: cancel, failed: make(chan error, 1)}
}

// run runs a part until stop; if it ends before, the controller ends.
func (t *tasks) run(name string, run func(context.Context) error) {
	t.wg.Go(func() {
		err := run(t.ctx)
		if t.ctx.Err() != nil && err == nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		select {
		case t.failed <- fmt.Errorf("%s: %w", name, err):
		default: // the first failure is the one that counts
		}
	})
}

// stop ends all parts, waits for them, and says whether one could not end well.
func (t *tasks) stop(ctx context.Context) error {
	t.cancel()
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("stop: parts are still running: %w", ctx.Err())
	}
	select {
	case err := <-t.failed:
		return err
	default:
		return nil
	}
}
