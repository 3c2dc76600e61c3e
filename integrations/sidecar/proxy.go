// Package sidecar moves a proxy through the sidecar that stands beside it.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// Line carries the calls to sidecars, signed, and keeps its connections.
type Line interface {
	Apply(ctx context.Context, url string, m protocol.Apply) (protocol.Applied, error)
	Read(ctx context.Context, url string, m protocol.Read) (protocol.Applied, error)
}

// Config names one proxy, and the sidecar beside it.
type Config struct {
	// Name is the proxy's, also in the sidecar's own file.
	Name    string
	Cluster string
	// URL is the sidecar's http://HOST:PORT.
	URL string
	// Controller is the id of the one that speaks.
	Controller string
	// Timeout bounds each call, on top of its context; 0 for DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds a call when the configuration does not.
const DefaultTimeout = time.Second

// Proxy is a proxy behind a sidecar.
type Proxy struct {
	config Config
	line   Line
	log    *slog.Logger

	mu sync.Mutex
	// alarmed is the newest table of the sidecar's that was told of as too new.
	alarmed routes.Table
	// run is that of the sidecar that was last read, and repairs what it counted.
	run     string
	repairs int
}

// New checks the configuration; it does not connect.
func New(config Config, line Line, log *slog.Logger) (*Proxy, error) {
	switch {
	case config.Name == "":
		return nil, fmt.Errorf("sidecar %s: name is empty: give the proxy's, as in the sidecar's own file", config.URL)
	case config.Cluster == "":
		return nil, fmt.Errorf("proxy %s: cluster is empty: name the one whose writer it carries", config.Name)
	case config.URL == "":
		return nil, fmt.Errorf("proxy %s: sidecar is empty: want http://HOST:PORT", config.Name)
	case config.Timeout < 0:
		return nil, fmt.Errorf("proxy %s: timeout %s is negative", config.Name, config.Timeout)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	return &Proxy{config: config, line: line, log: log.With("proxy", config.Name)}, nil
}

// Name returns what operators call the proxy.
func (p *Proxy) Name() string { return p.config.Name }

// Cluster returns the cluster whose writer the proxy carries.
func (p *Proxy) Cluster() string { return p.config.Cluster }

// Apply has the sidecar make the proxy follow the table, and returns what it
// read back. The error wraps routes.ErrNotRunning only where the sidecar has
// proven that the proxy does not run: a sidecar that does not answer says
// nothing of its proxy, which serves on.
func (p *Proxy) Apply(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	reply, err := p.line.Apply(ctx, p.config.URL,
		protocol.Apply{Controller: p.config.Controller, Proxy: p.config.Name, Table: table})
	if err = p.judge(ctx, table, reply, err); err != nil {
		return reply.Proof, p.named(err)
	}
	if reply.Proof.Holds {
		return shown(reply), nil
	}
	problem := errors.New(unfollowed(reply))
	if silent(reply.Proof) {
		return reply.Proof, p.named(problem)
	}
	return reply.Proof, p.named(fmt.Errorf("%w: %w", problem, routes.ErrNotYet))
}

// Read asks the sidecar whether the proxy follows the table. It changes nothing.
//
// A proxy that had strayed since the last question, and that its sidecar has put
// back, is shown once as it had strayed: whoever keeps it sees it follow again,
// and records that.
func (p *Proxy) Read(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	reply, err := p.line.Read(ctx, p.config.URL,
		protocol.Read{Controller: p.config.Controller, Proxy: p.config.Name, Table: table})
	if err = p.judge(ctx, table, reply, err); err != nil {
		return reply.Proof, p.named(err)
	}
	if strayed := p.strayed(reply); strayed != nil {
		return *strayed, nil
	}
	if unread(table, reply) {
		return reply.Proof, p.named(errors.New(unfollowed(reply)))
	}
	return shown(reply), nil
}

// unread reports whether a sidecar that holds the table could not read its
// proxy: that is no proxy which has strayed, and the sidecar looks again by itself.
func unread(table routes.Table, reply protocol.Applied) bool {
	return !reply.Proof.Holds && reply.Digest == "" && reply.Epoch == table.Epoch && reply.Revision == table.Revision
}

func (p *Proxy) strayed(reply protocol.Applied) *routes.Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, before := p.run == reply.Run, p.repairs
	p.run, p.repairs = reply.Run, reply.Repairs
	if !known || reply.Repairs <= before {
		return nil
	}
	return reply.Strayed
}

// judge says why a reply is no word about the table.
func (p *Proxy) judge(ctx context.Context, table routes.Table, reply protocol.Applied, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("its sidecar does not answer: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("its sidecar: %w", err)
	case reply.Proxy != p.config.Name:
		return fmt.Errorf("its sidecar %s speaks of proxy %q", reply.Sidecar, reply.Proxy)
	}
	held := routes.Table{Cluster: table.Cluster, Epoch: reply.Epoch, Revision: reply.Revision}
	switch {
	case held.Epoch.Compare(table.Epoch) > 0:
		p.alarm(held)
		return fmt.Errorf("its sidecar %s: %w", reply.Sidecar,
			&routes.HigherEpochError{Cluster: table.Cluster, Held: held.Epoch, Offered: table.Epoch})
	case reply.Older && held.Newer(table):
		return fmt.Errorf("its sidecar %s holds revision %d of epoch %s already, and was offered %d: held", reply.Sidecar,
			held.Revision, held.Epoch, table.Revision)
	case reply.Older:
		p.alarm(held)
		return fmt.Errorf("its sidecar %s holds another table of epoch %s revision %d: held; find out which ledger issued it "+
			"before anything is overwritten", reply.Sidecar, held.Epoch, held.Revision)
	case reply.NotRunning:
		return fmt.Errorf("its sidecar %s finds it %w%s", reply.Sidecar, routes.ErrNotRunning, because(reply.Problem))
	}
	return nil
}

// alarm says once of each table that somebody else has issued it.
func (p *Proxy) alarm(held routes.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alarmed.Epoch == held.Epoch && p.alarmed.Revision == held.Revision {
		return
	}
	p.alarmed = held
	p.log.Error("A sidecar holds a table that this ledger did not issue. The proxy is left as it is.",
		"cluster", held.Cluster, "epoch", held.Epoch, "revision", held.Revision)
}

// silent reports whether nothing was read from the proxy.
func silent(proof routes.Proof) bool { return proof == routes.Proof{} }

func unfollowed(reply protocol.Applied) string {
	if reply.Problem != "" {
		return reply.Problem
	}
	return "it was not read back to follow the table"
}

// shown is the proof with what is in the way of what it proves.
func shown(reply protocol.Applied) routes.Proof {
	proof := reply.Proof
	if proof.Warning == "" {
		proof.Warning = reply.Problem
	} else if reply.Problem != "" {
		proof.Warning += "; " + reply.Problem
	}
	return proof
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}

func (p *Proxy) named(err error) error {
	return fmt.Errorf("proxy %s at %s: %w", p.config.Name, p.config.URL, err)
}
