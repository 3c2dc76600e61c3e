package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Config is the operator's commands, and how they are run.
type Config struct {
	// Commands are run at each moment one after the other.
	Commands map[Moment][]string
	// Timeout is how long each may take; 30 seconds where it is zero.
	Timeout time.Duration
	// Shell runs them; /bin/sh where it is empty.
	Shell string
	// Now is the clock.
	Now func() time.Time
	// Environment has the few variables that commands inherit (PATH, HOME, LANG);
	// nothing else of this process's reaches them.
	Environment map[string]string
}

// Hooks runs the operator's commands.
type Hooks struct {
	cfg Config
	log *slog.Logger
}

// The defaults of a Config.
const (
	DefaultTimeout = 30 * time.Second
	DefaultShell   = "/bin/sh"
)

// Inherit picks what commands inherit from this process.
func Inherit(lookup func(string) (string, bool)) map[string]string {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if value, ok := lookup(name); ok {
			env[name] = value
		}
	}
	return env
}

// New returns hooks that run the commands of cfg.
func New(cfg Config, log *slog.Logger) *Hooks {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Shell == "" {
		cfg.Shell = DefaultShell
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Hooks{cfg: cfg, log: log}
}

// Run runs the commands of one moment and tells how each went. Where the moment
// vetoes, the first that fails is the last that runs, and is the error; elsewhere
// the list goes on, and failures are in the results alone. When ctx ends, the
// command that runs is killed.
func (h *Hooks) Run(ctx context.Context, m Moment, f Facts) ([]Result, error) {
	var results []Result
	for i, command := range h.cfg.Commands[m] {
		r := Result{Command: command, Begun: h.cfg.Now()}
		r.Output, r.Err = h.one(ctx, m, f, command)
		r.Ended = h.cfg.Now()
		results = append(results, r)
		// Neither the command nor what it printed is logged: they may hold secrets.
		if r.Err == nil {
			h.log.Info("hook has run", "moment", string(m), "number", i+1, "cluster", f.Cluster, "took", r.Ended.Sub(r.Begun))
			continue
		}
		h.log.Warn("hook failed", "moment", string(m), "number", i+1, "cluster", f.Cluster, "took", r.Ended.Sub(r.Begun), "error", r.Err)
		if m.Vetoes() {
			return results, fmt.Errorf("%s hook %d of %d: %w", m, i+1, len(h.cfg.Commands[m]), r.Err)
		}
	}
	return results, nil
}

// one runs one command, unless the names that it would be given are unsafe.
func (h *Hooks) one(ctx context.Context, m Moment, f Facts, command string) (string, error) {
	script, err := compile(command)
	if err != nil {
		return "", err
	}
	if err := unsafeName(f); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("it was not run: %w", err)
	}
	return h.run(ctx, script, environment(m, f, h.cfg.Environment))
}
