package failover_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// The ledger.

func (w *world) State() ledger.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *world) Propose(_ context.Context, cmd ledger.Command) error {
	w.mu.Lock()
	before := w.before
	w.proposed = append(w.proposed, proposal{cmd, time.Now()})
	w.mu.Unlock()
	if before != nil {
		if err := before(cmd); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next, _, err := ledger.Apply(w.state, cmd)
	if err != nil {
		return err
	}
	w.state = next
	w.tell()
	return nil
}

// audited are the entries of one kind that the loop proposed.
func (w *world) audited(kind ledger.AuditKind) []ledger.AuditEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []ledger.AuditEntry
	for _, p := range w.proposed {
		if c, ok := p.cmd.(ledger.AppendAudit); ok {
			for _, e := range c.Entries {
				if e.Kind == kind {
					out = append(out, e)
				}
			}
		}
	}
	return out
}

func (w *world) ProposeAsync(ctx context.Context, cmd ledger.Command) <-chan error {
	done := make(chan error, 1)
	done <- w.Propose(ctx, cmd)
	return done
}

func (w *world) VerifyLeader(context.Context) error { return nil }

func (w *world) IsLeader() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leads
}

func (w *world) Barrier(context.Context) error {
	w.mu.Lock()
	w.did("barrier")
	barrier := w.barrier
	w.mu.Unlock()
	if barrier != nil {
		return barrier()
	}
	return nil
}

func (w *world) LeaderChanges() (<-chan bool, func()) { return w.leading, func() {} }

func (w *world) Watch() (<-chan struct{}, func()) { return w.changed, func() {} }

// The observer.

func (w *world) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.memory
	s.Cluster, s.Master, s.Servers = cluster, master, maps.Clone(s.Servers)
	s.Views = slices.Clone(s.Views[:1])
	return s
}

func (w *world) Look(_ context.Context, keys []topology.Key, _ map[topology.Key]bool) topology.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, time.Now())
	seen := only(w.now.Views[0], keys)
	for k, o := range seen.Observations {
		if o.Instance != nil && w.memory.Servers[k].Last == nil { // seen for the first time
			w.memory.Servers = maps.Clone(w.memory.Servers)
			w.memory.Servers[k] = w.now.Servers[k]
		}
	}
	return seen
}

func only(v topology.View, keys []topology.Key) topology.View {
	out := topology.View{Observer: v.Observer, At: v.At, Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		if o, ok := v.Observations[k]; ok {
			out.Observations[k] = o
		}
	}
	return out
}

func (w *world) Reprobe(cluster string, _ ...topology.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did("reprobe " + cluster)
}

func (w *world) Learn(cluster string, keys ...topology.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		w.learned[k] = cluster
	}
}

func (w *world) SetMaster(cluster string, master topology.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.masters[cluster] = master
}

func (w *world) Pictures() []failover.Picture {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pictures
}

// The other controllers.

func (w *world) Ask(_ context.Context, _ string, _ topology.Key, keys []topology.Key) ([]topology.View, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []topology.View
	for _, v := range w.now.Views[1:] {
		out = append(out, only(v, keys))
	}
	return out, w.silent
}

// The hands.

func (w *world) Run(ctx context.Context, id string) (ledger.Recovery, error) {
	w.mu.Lock()
	w.did("run " + id)
	recover, r := w.recover, w.state.Recoveries[id]
	w.mu.Unlock()
	err := recover(ctx, r)
	return w.State().Recoveries[id], err
}

func (w *world) Deposed(ctx context.Context, c ledger.Cluster) error {
	w.mu.Lock()
	if w.did("deposed"); c.Recovery != "" {
		w.t.Errorf("servers are tended during %s", c.Recovery)
	}
	tend := w.tend
	w.mu.Unlock()
	if tend != nil {
		return tend(ctx)
	}
	return nil
}

func (w *world) Strays(context.Context, ledger.Cluster, topology.Snapshot) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did("strays")
	return nil
}

// commands are the operator's.
type commands struct{ w *world }

func (c commands) Run(ctx context.Context, m hooks.Moment, f hooks.Facts) ([]hooks.Result, error) {
	begun := time.Now()
	c.w.mu.Lock()
	c.w.did("hook " + string(m))
	c.w.told = append(c.w.told, f)
	hook := c.w.hook
	c.w.mu.Unlock()
	output, err := hook(ctx, m, f)
	if output == "none" {
		return nil, nil
	}
	results := []hooks.Result{{Command: "run " + string(m), Begun: begun, Ended: time.Now(), Output: output, Err: err}}
	if !m.Vetoes() {
		err = nil
	}
	return results, err
}

// hooked are the moments at which commands ran, in order, and what they were
// told.
func (w *world) hooked() (moments []string, facts []hooks.Facts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.trace {
		if m, ok := strings.CutPrefix(e.what, "hook "); ok {
			moments = append(moments, m)
		}
	}
	return moments, slices.Clone(w.told)
}

// mover changes single servers.
type mover struct{ w *world }

func (m mover) do(ctx context.Context, what string) error {
	m.w.mu.Lock()
	m.w.did(what)
	do := m.w.mover
	m.w.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx, what)
}

func (m mover) Move(ctx context.Context, _ ledger.Cluster, k, below topology.Key) error {
	return m.do(ctx, "move "+k.Host+" below "+below.Host)
}

func (m mover) Detach(ctx context.Context, c ledger.Cluster, k topology.Key, by, reason string) error {
	if err := m.do(ctx, "detach "+k.Host); err != nil {
		return err
	}
	return m.w.Propose(ctx, ledger.SetDetached{Server: k, From: c.Master, By: by, Reason: reason, At: time.Now()})
}

func (m mover) Reattach(ctx context.Context, _ ledger.Cluster, k topology.Key, by, reason string) error {
	if err := m.do(ctx, "reattach "+k.Host); err != nil {
		return err
	}
	return m.w.Propose(ctx, ledger.SetDetached{Server: k, By: by, Reason: reason, At: time.Now()})
}

func (m mover) SetReadOnly(ctx context.Context, _ ledger.Cluster, k topology.Key, on bool) error {
	return m.do(ctx, fmt.Sprintf("read-only %s %v", k.Host, on))
}

// relocator moves the replicas of intermediate masters, and does smaller things.
type relocator struct{ w *world }

func (r relocator) Run(ctx context.Context, id string) (ledger.Recovery, error) {
	r.w.mu.Lock()
	r.w.did("relocate " + id)
	rec, relocate := r.w.state.Recoveries[id], r.w.relocate
	r.w.mu.Unlock()
	var err error
	if relocate != nil {
		err = relocate(ctx, rec)
	} else {
		err = r.w.Propose(ctx, ledger.CloseRelocation{Recovery: id, Winner: key("b"), Outcome: ledger.Completed, At: time.Now()})
	}
	return r.w.State().Recoveries[id], err
}

func (r relocator) small(ctx context.Context, what string) error {
	r.w.mu.Lock()
	r.w.did(what)
	repair := r.w.repair
	r.w.mu.Unlock()
	if repair == nil {
		return nil
	}
	return repair(ctx, what)
}

func (r relocator) SemiSync(ctx context.Context, _ ledger.Cluster, _ topology.Snapshot) error {
	return r.small(ctx, "semi-sync")
}

func (r relocator) RestartReceivers(ctx context.Context, _ ledger.Cluster, _ topology.Snapshot) error {
	return r.small(ctx, "restart receivers")
}
