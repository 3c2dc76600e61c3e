package proxysql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

// readersShare bounds what the readers may add to a call, at half of the time that
// is left: whoever waits for the writer waits for them, too. A sidecar does not
// know how little time its caller has.
const readersShare = 150 * time.Millisecond

// followReaders makes the hostgroup of the readers follow the table, beginning with
// the state that the writer's part ended with, and says what came of it. Nothing
// that goes wrong here says anything of the writer.
func (p *Proxy) followReaders(ctx context.Context, talk *talk, table routes.Table, state proxysql.State) *routes.ReadersProof {
	if p.config.Slot.Reader == proxysql.NoReader {
		return nil
	}
	most := readersShare
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	state, err := p.carryReaders(ctx, talk, table, state)
	proof := p.readReaders(table, state)
	if err != nil {
		proof.Holds, proof.Problem = false, err.Error()
	}
	return proof
}

// readReaders says what the state shows of the readers.
func (p *Proxy) readReaders(table routes.Table, state proxysql.State) *routes.ReadersProof {
	slot, readers := p.config.Slot, table.ReadersFor(p.config.Datacenter)
	if slot.Reader == proxysql.NoReader {
		return nil
	}
	proof := proxysql.ProofOfReaders(slot, readers, state)
	step, remarks := proxysql.NextReaders(slot, readers, state)
	if step.Name != "" {
		remarks = append(remarks, step.String())
	}
	proof.Holds, proof.Problem = len(remarks) == 0, strings.Join(remarks, "; ")
	return &proof
}

// carryReaders takes step after step until nothing is left to do.
func (p *Proxy) carryReaders(ctx context.Context, talk *talk, table routes.Table, state proxysql.State) (proxysql.State, error) {
	if len(state.Interfaces) == 0 {
		return state, fmt.Errorf("the proxy was not read")
	}
	readers, pause := table.ReadersFor(p.config.Datacenter), firstPause
	for {
		step, _ := proxysql.NextReaders(p.config.Slot, readers, state)
		if step.Name == "" {
			return state, nil
		}
		if step.Aside > 0 {
			p.log.Warn("Rows of mysql_servers were edited and not loaded; they are kept out of this load, and stay as they are in memory.",
				"rows", step.Aside)
		}
		if err := talk.run(ctx, step.Commands); err != nil {
			return state, fmt.Errorf("%s: %w", step, err)
		}
		select {
		case <-ctx.Done():
			return state, unmet(step.String(), context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
		next, err := p.look(ctx, talk, table)
		if err != nil {
			return state, unmet(step.String(), err)
		}
		state = next
	}
}
