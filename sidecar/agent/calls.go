package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// Apply answers a controller that wants a proxy to follow a table. Only the
// table that is held then is ever applied, and only what was read back to hold it
// is confirmed.
func (a *Agent) Apply(ctx context.Context, q protocol.Apply) (protocol.Applied, error) {
	u, err := a.unit(q.Proxy, q.Table)
	if err != nil {
		return protocol.Applied{}, err
	}
	_, verdict, err := a.offer(q.Table, push, u)
	switch {
	case err != nil:
		return a.applied(u, q.Table, routes.Proof{}, err), nil
	case verdict == older || verdict == conflicting:
		return a.refused(u, q.Table), nil
	}
	u.interrupt(q.Table)
	inner, done, err := u.take(ctx, q.Table, false)
	if err != nil {
		return a.applied(u, q.Table, routes.Proof{}, err), nil
	}
	table := a.held(q.Table.Cluster).Table
	if table.Newer(q.Table) {
		done()
		return a.refused(u, q.Table), nil
	}
	proof, err := u.proxy.Apply(inner, table)
	if !errors.Is(context.Cause(inner), errOvertaken) {
		u.note(table, proof, err)
	}
	done()
	if u.keep != nil && table.Writer == nil {
		u.keep.await(ctx, table)
		// A reload, or a start, that had read the file before that comes up with what
		// it said then.
		if proof.Holds || errors.Is(err, routes.ErrNotRunning) {
			if proof, err = u.proxy.Read(ctx, table); err == nil && !proof.Holds {
				u.look()
			}
		}
	}
	return a.applied(u, q.Table, proof, err), nil
}

// Read answers a controller that wants to know whether a proxy follows a table.
func (a *Agent) Read(ctx context.Context, q protocol.Read) (protocol.Applied, error) {
	u, err := a.unit(q.Proxy, q.Table)
	if err != nil {
		return protocol.Applied{}, err
	}
	_, verdict := a.held(q.Table.Cluster).judge(q.Table, push)
	if verdict == older || verdict == conflicting {
		return a.refused(u, q.Table), nil
	}
	proof, err := u.proxy.Read(ctx, q.Table)
	if err == nil && proof.Holds && !is(a.held(q.Table.Cluster).Table, q.Table) {
		// It does so by chance: what is held is another table, and it would be put
		// back to that.
		err = errors.New("this sidecar was not told of the table yet")
	}
	return a.applied(u, q.Table, proof, err), nil
}

func (a *Agent) unit(proxy string, table routes.Table) (*unit, error) {
	for _, u := range a.units {
		if u.proxy.Name() != proxy {
			continue
		}
		if u.proxy.Cluster() != table.Cluster {
			return nil, wire.NewError(wire.BadRequest, fmt.Sprintf("proxy %s carries cluster %s, and the table is of %s", proxy,
				u.proxy.Cluster(), table.Cluster), "give the proxy the same cluster in the controllers' and the sidecar's files")
		}
		return u, nil
	}
	return nil, wire.NewError(wire.NotFound, fmt.Sprintf("the sidecar %s has no proxy %q", a.config.Sidecar, proxy),
		"give the proxy the same name in the controllers' and the sidecar's files")
}

// refused is the answer to a table that is not the newest.
func (a *Agent) refused(u *unit, asked routes.Table) protocol.Applied {
	proof := u.sight().proof
	proof.Holds = false
	answer := a.applied(u, asked, proof, fmt.Errorf("%s is refused: this sidecar holds %s", place(asked), place(a.held(asked.Cluster).Table)))
	answer.Older = true
	return answer
}

func (a *Agent) applied(u *unit, asked routes.Table, proof routes.Proof, err error) protocol.Applied {
	table := a.held(asked.Cluster).Table
	seen := u.sight()
	answer := protocol.Applied{Sidecar: a.config.Sidecar, Run: a.config.Run, Proxy: u.proxy.Name(), Proof: fit(proof),
		Epoch: table.Epoch, Revision: table.Revision, Repairs: seen.repairs}
	answer.Proof.Holds = proof.Holds && err == nil
	if seen.strayed != nil {
		strayed := fit(*seen.strayed)
		answer.Strayed = &strayed
	}
	// What the proof says itself is not said twice.
	var problems []string
	if err != nil || !proof.Holds {
		problems = append(problems, problem(proof, err))
	}
	if err == nil {
		answer.Digest = digest(proof)
	}
	lacks := ""
	if u.keep != nil {
		lacks = u.keep.lacks(asked)
	}
	// What a reload would bring back is not withdrawn.
	if lacks != "" && asked.Writer == nil {
		answer.Proof.Holds = false
	}
	// A process that is gone is no danger as long as it comes back as it should.
	answer.NotRunning = errors.Is(err, routes.ErrNotRunning) && lacks == ""
	answer.Problem = a.problems(asked.Cluster, append(problems, lacks)...)
	return answer
}

// fit makes the words of a proof fit for the wire.
func fit(proof routes.Proof) routes.Proof {
	proof.Warning = protocol.Detail(proof.Warning)
	if proof.Readers != nil {
		readers := *proof.Readers
		readers.Problem = protocol.Detail(readers.Problem)
		proof.Readers = &readers
	}
	return proof
}

// problems joins what is in the way of a proxy with what is in that of its cluster.
func (a *Agent) problems(cluster string, texts ...string) string {
	a.mu.Lock()
	texts = append(texts, a.disputed[cluster])
	if !a.alone.IsZero() {
		texts = append(texts, fmt.Sprintf("no controller has answered for %.0f s; what was said last is kept", a.now().Sub(a.alone).Seconds()))
	}
	a.mu.Unlock()
	var known []string
	for _, text := range texts {
		if text != "" {
			known = append(known, text)
		}
	}
	return protocol.Sentence(strings.Join(known, "; "))
}

// reports say what each proxy does.
func (a *Agent) reports() []protocol.Report {
	reports := make([]protocol.Report, 0, len(a.units))
	for _, u := range a.units {
		seen, table := u.sight(), a.held(u.proxy.Cluster()).Table
		r := protocol.Report{Proxy: u.proxy.Name(), Cluster: u.proxy.Cluster()}
		if seen.holds {
			r.Epoch, r.Revision = seen.table.Epoch, seen.table.Revision
		}
		if seen.known {
			r.Digest = digest(seen.proof)
			if table.Writer == nil {
				r.Sessions = seen.proof.Sessions
			}
		}
		lacks := ""
		if u.keep != nil && !table.Epoch.IsZero() {
			lacks = u.keep.lacks(table)
		}
		repairs := ""
		if seen.repairs > 0 {
			repairs = fmt.Sprintf("it has left its route %d times, and was put back", seen.repairs)
		}
		r.Problem = a.problems(r.Cluster, seen.problem, lacks, repairs)
		reports = append(reports, r)
	}
	return reports
}
