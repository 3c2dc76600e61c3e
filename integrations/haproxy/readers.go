package haproxy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// readersShare bounds what the readers may add to a call, at half of the time that
// is left: whoever waits for the writer waits for them, too. A sidecar does not
// know how little time its caller has.
const readersShare = 150 * time.Millisecond

func share(ctx context.Context) (context.Context, context.CancelFunc) {
	most := readersShare
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/2)
	}
	return context.WithTimeout(ctx, most)
}

// followReaders makes the slots of the readers follow the table, and says what came
// of it. Nothing that goes wrong here says anything of the writer.
func (p *Proxy) followReaders(ctx context.Context, talk *talk, table routes.Table) *routes.ReadersProof {
	if p.config.Readers.IsZero() {
		return nil
	}
	ctx, cancel := share(ctx)
	defer cancel()
	want, remarks := p.readers(ctx, table)
	slots, err := p.carryReaders(ctx, talk, want)
	return p.readersProof(want, slots, remarks, err)
}

// readReaders looks what the slots of the readers show, and changes nothing.
func (p *Proxy) readReaders(ctx context.Context, talk *talk, table routes.Table) *routes.ReadersProof {
	if p.config.Readers.IsZero() {
		return nil
	}
	ctx, cancel := share(ctx)
	defer cancel()
	want, remarks := p.readers(ctx, table)
	slots, err := talk.lookReaders(ctx, p.config.Readers)
	if err == nil {
		if step := haproxy.NextReaders(p.config.Readers, want, slots); step.Why != "" {
			remarks = append(remarks, step.Why)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.oldReaders {
			remarks = append(remarks, "old workers may have sessions of a reader that left")
		}
	}
	return p.readersProof(want, slots, remarks, err)
}

// readersProof holds where nothing is to be remarked.
func (p *Proxy) readersProof(want []haproxy.Reader, slots []haproxy.State, remarks []string, err error) *routes.ReadersProof {
	proof := haproxy.ProofOfReaders(want, slots)
	if err != nil {
		remarks = append(remarks, err.Error())
	}
	proof.Problem = strings.Join(remarks, "; ")
	proof.Holds = err == nil && len(remarks) == 0
	return &proof
}

// carryReaders takes step after step until nothing is left to do.
func (p *Proxy) carryReaders(ctx context.Context, talk *talk, want []haproxy.Reader) ([]haproxy.State, error) {
	readers, pause := p.config.Readers, firstPause
	for {
		slots, err := talk.lookReaders(ctx, readers)
		if err != nil {
			return nil, err
		}
		step := haproxy.NextReaders(readers, want, slots)
		p.mu.Lock()
		p.oldReaders = p.oldReaders || step.Closes && p.master != nil
		old := p.oldReaders
		p.mu.Unlock()
		if step.Why == "" && old {
			// Which slot led where in a worker before, nothing tells: all of them end.
			if _, err := p.endOldSessions(ctx, haproxy.Backend{Backend: readers.Backend}); err != nil {
				return slots, err
			}
			p.mu.Lock()
			p.oldReaders = false
			p.mu.Unlock()
		}
		if step.Why == "" {
			return slots, nil
		}
		if err := talk.run(ctx, step.Commands); err != nil {
			return slots, fmt.Errorf("as %s: %w", step.Why, err)
		}
		select {
		case <-ctx.Done():
			return slots, fmt.Errorf("%s: %w: %w", step.Why, routes.ErrNotYet, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// readers are those that this proxy sends connections to, with their addresses,
// and what is to be said of those that it cannot.
func (p *Proxy) readers(ctx context.Context, table routes.Table) (want []haproxy.Reader, remarks []string) {
	for _, r := range table.ReadersFor(p.config.Datacenter) {
		addr, err := p.resolve(ctx, r.Host)
		reader := haproxy.Reader{Address: netip.AddrPortFrom(addr, r.Port), Weight: r.Weight}
		if err == nil {
			err = haproxy.CheckReader(reader)
		}
		if err != nil {
			remarks = append(remarks, fmt.Sprintf("reader %s: %s", r.Server, err))
			continue
		}
		want = append(want, reader)
	}
	want, over := p.config.Readers.Fit(want)
	if over > 0 {
		remarks = append(remarks, fmt.Sprintf("%d readers have no slot: raise readers.slots, and generate the configuration anew", over))
	}
	return want, remarks
}
