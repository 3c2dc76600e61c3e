// Package invariants watches a topology from outside while something is done to it, and judges afterwards whether what
// must never happen has happened. The judgement is a pure function of the samples and the application's writes.
package invariants

import (
	"context"
	"fmt"
	"sync"
	"time"

	"switchyard/e2e/session"
)

// Target is something to sample: a server, or the proxy in front of all of them.
type Target struct {
	// Name is what the verdict calls it.
	Name string
	// Address is host:port.
	Address string
	// Proxy marks the managed path: its samples say who is served, not who is there.
	Proxy bool
	// Dial connects from a place of its own; nil for from here.
	Dial session.Dial
}

// Config says what to watch and as whom.
type Config struct {
	Targets  []Target
	User     string
	Password string
	// Interval is the time between two samples of one target; default 10 ms.
	Interval time.Duration
	// Timeout bounds each sample, so that a frozen server costs samples of its own only; default 100 ms.
	Timeout time.Duration
}

// Sample is one look at one target. Failed ones are kept: they bound what is known.
type Sample struct {
	Target string
	Proxy  bool
	// Fresh means that the connection was made for this sample; a proxy may treat new connections differently.
	Fresh      bool
	Begin, End time.Time
	Err        error
	ServerID   uint32
	Writable   bool
}

// Observer samples each target from a goroutine of its own.
type Observer struct {
	config  Config
	dialers []*session.Dialer

	mu      sync.Mutex
	samples []Sample
}

// freshEvery is how many samples share a connection through the proxy.
const freshEvery = 5

// NewObserver checks the settings; nothing is connected before Run.
func NewObserver(config Config) (*Observer, error) {
	if config.Interval == 0 {
		config.Interval = 10 * time.Millisecond
	}
	if config.Timeout == 0 {
		config.Timeout = 100 * time.Millisecond
	}
	o := &Observer{config: config}
	for _, target := range config.Targets {
		dialer, err := session.NewDialer(session.Config{Address: target.Address, User: config.User,
			Password: config.Password, Timeout: config.Timeout, Dial: target.Dial})
		if err != nil {
			return nil, fmt.Errorf("observe %s: %w", target.Name, err)
		}
		o.dialers = append(o.dialers, dialer)
	}
	return o, nil
}

// Run samples until ctx ends, and returns when every goroutine has.
func (o *Observer) Run(ctx context.Context) {
	var group sync.WaitGroup
	for i, target := range o.config.Targets {
		group.Go(func() { o.watch(ctx, target, o.dialers[i], false) })
		if target.Proxy {
			// One connection is kept for as long as it lives: it shows whether a withdrawn server still answers on it.
			group.Go(func() { o.watch(ctx, target, o.dialers[i], true) })
		}
	}
	group.Wait()
}

// Samples are all samples so far.
func (o *Observer) Samples() []Sample {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Sample(nil), o.samples...)
}

func (o *Observer) watch(ctx context.Context, target Target, dialer *session.Dialer, keep bool) {
	ticker := time.NewTicker(o.config.Interval)
	defer ticker.Stop()
	var conn *session.Session
	drop := func() {
		if conn != nil {
			_ = conn.Close() // It is given up because it failed, or because watching ends.
			conn = nil
		}
	}
	defer drop()
	for count := 0; ; count++ {
		if target.Proxy && !keep && count%freshEvery == 0 {
			drop()
		}
		sample := o.look(ctx, target, dialer, &conn)
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		o.samples = append(o.samples, sample)
		o.mu.Unlock()
		if sample.Err != nil {
			drop()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (o *Observer) look(ctx context.Context, target Target, dialer *session.Dialer, conn **session.Session) Sample {
	sample := Sample{Target: target.Name, Proxy: target.Proxy, Begin: time.Now()}
	if *conn == nil {
		sample.Fresh = true
		if *conn, sample.Err = dialer.Dial(ctx); sample.Err != nil {
			*conn = nil
			return finish(sample)
		}
	}
	values, err := (*conn).Integers(ctx, "SELECT @@server_id, @@GLOBAL.read_only")
	if err != nil {
		sample.Err = err
		return finish(sample)
	}
	sample.ServerID, sample.Writable = uint32(values[0]), values[1] == 0
	return finish(sample)
}

func finish(sample Sample) Sample {
	sample.End = time.Now()
	return sample
}
