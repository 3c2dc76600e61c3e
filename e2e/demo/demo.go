// Package demo is the engine of `switchyard demo`: the whole product on loopback with real servers, an application
// that writes through the proxy, a fault, and the story of the recovery.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
)

// Options are what `switchyard demo` can be told.
type Options struct {
	// Flavor is mariadb or mysql.
	Flavor string
	// Fault is crash, freeze or switchover.
	Fault string
	// SemiSync makes every commit wait for a replica.
	SemiSync bool
	// Proxies is how many HAProxies there are; 0 for one. The application uses the first.
	Proxies int
	// Keep leaves everything running afterwards, until ctx ends.
	Keep bool
	// JSON makes the last line of stdout, and the only one, an object with the result; the story goes to stderr.
	JSON bool
	// Binary is the switchyard program to run; empty for this one.
	Binary string
}

// Flavors lists the flavors that a demo can be of.
func Flavors() []string { return []string{string(stack.MariaDB), string(stack.MySQL)} }

// Faults lists what a demo can do to the master.
func Faults() []string { return []string{faultCrash, faultFreeze, faultSwitchover} }

const (
	faultCrash      = "crash"
	faultFreeze     = "freeze"
	faultSwitchover = "switchover"
)

// maxProxies is what a small machine can start within a demo's patience.
const maxProxies = 50

// Validate says what is wrong with the options, if anything, and what is right.
func (o Options) Validate() error {
	if !slices.Contains(Flavors(), o.Flavor) {
		return fmt.Errorf("--flavor %q: use %s", o.Flavor, strings.Join(Flavors(), " or "))
	}
	if !slices.Contains(Faults(), o.Fault) {
		return fmt.Errorf("--fault %q: use %s", o.Fault, strings.Join(Faults(), ", "))
	}
	if o.Proxies < 0 || o.Proxies > maxProxies {
		return fmt.Errorf("--proxies %d: use 1 to %d", o.Proxies, maxProxies)
	}
	return nil
}

// Run runs a demo to its end. It leaves no process and no directory behind, however it ends.
func Run(ctx context.Context, options Options, stdout, stderr io.Writer) (err error) {
	if err := options.Validate(); err != nil {
		return err
	}
	if options.Binary == "" {
		if options.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
	}
	story := stdout
	if options.JSON {
		story = stderr
	}
	st, err := stack.New(ctx, stack.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	d := &demo{options: options, stack: st, teller: teller{out: story, begun: time.Now()}}
	result, err := d.play(ctx)
	if err != nil {
		return err
	}
	if options.JSON {
		if err := result.write(stdout); err != nil {
			return err
		}
	}
	if options.Keep {
		if err := d.keep(ctx); err != nil {
			return err
		}
	}
	return errors.Join(result.failure(), d.teller.err)
}

// demo is one run.
type demo struct {
	teller
	options Options
	stack   *stack.Stack
	site    *site.Site
}

// play runs the three acts: start, fault, reckoning.
func (d *demo) play(ctx context.Context) (Result, error) {
	recovery := ""
	if d.options.Keep {
		// Whoever plays with it will kill more than one master.
		recovery = "{clusters: ['*'], anti_flap: " + keepAntiFlap.String() + "}"
	}
	var err error
	d.site, err = site.Start(ctx, d.stack, site.Options{Flavor: stack.Flavor(d.options.Flavor), SemiSync: d.options.SemiSync,
		Binary: d.options.Binary, Proxies: d.options.Proxies, Recovery: recovery, Progress: d.progress})
	if err != nil {
		return Result{}, err
	}
	d.progress("starting an application that writes through the proxy at %s", d.site.Proxies[0].Listen)
	run, err := trial.Begin(ctx, d.site)
	if err != nil {
		return Result{}, err
	}
	defer run.Close()
	d.progress("%.0f acknowledged writes per second", run.Rate)
	a, err := d.act(ctx, run)
	if err != nil {
		return Result{}, err
	}
	return d.reckon(ctx, run, a)
}
