// Package app is the roof of a sidecar: it builds what the configuration
// names, opens the door, and starts and stops the parts together.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	controller "switchyard/controller/config"
	"switchyard/sidecar/call"
	"switchyard/sidecar/config"
	"switchyard/sidecar/door"
)

// Part is what a sidecar does for one thing that it stands beside.
type Part struct {
	// Name is for errors and logs.
	Name string
	// Handlers are the paths of the door that are this part's.
	Handlers map[string]door.Handler
	// Run works until ctx ends.
	Run func(ctx context.Context) error
}

// shared is what all parts of a sidecar use.
type shared struct {
	file   *config.File
	client *call.Client
	// run is the random id of this run of the process, and boot that of the host's boot.
	run, boot string
	log       *slog.Logger
}

// Run runs a sidecar until ctx ends or one of its parts fails.
func Run(ctx context.Context, c *config.File) error {
	s, err := newShared(c)
	if err != nil {
		return err
	}
	defer s.client.Wait()
	dir, err := own(c.StateDir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // and the lock with it
	var parts []Part
	for _, build := range []func(shared) ([]Part, error){proxies, database, tails} {
		more, err := build(s)
		if err != nil {
			return err
		}
		parts = append(parts, more...)
	}
	d := door.New(door.Config{Listen: c.Listen, Secret: c.Secret.Reveal()}, s.log)
	for _, p := range parts {
		for path, h := range p.Handlers {
			d.Handle(path, h)
		}
	}
	if err := d.Listen(ctx); err != nil {
		return err
	}
	s.log.Info("started", "listen", d.Addr().String(), "run", s.run)
	return together(ctx, append(parts, Part{Name: "door", Run: d.Run}))
}

// together runs the parts until ctx ends or one of them does.
func together(ctx context.Context, parts []Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(parts))
	var group sync.WaitGroup
	for _, p := range parts {
		group.Go(func() {
			defer cancel()
			err := p.Run(ctx)
			if err == nil && ctx.Err() == nil {
				err = errors.New("it ended by itself")
			}
			if err != nil {
				failed <- fmt.Errorf("%s: %w", p.Name, err)
			}
		})
	}
	group.Wait()
	close(failed)
	var all []error
	for err := range failed {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func newLogger(c *config.File) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Log.Level.Slog()}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if c.Log.Format == controller.LogJSON {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	return slog.New(handler).With("sidecar", c.Name)
}
