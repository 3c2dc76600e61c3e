package relocate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"switchyard/controller/executor"
	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// atOnce bounds how many replicas are moved side by side.
const atOnce = 8

// mission is one execution of one relocation by one leader.
type mission struct {
	*Relocator
	id       string
	cluster  string
	subject  topology.Key
	sessions *executor.Sessions

	mu sync.Mutex
	// lost says why replicas found no source; moved counts those that did, and
	// placed how often each did.
	lost   map[topology.Key]string
	moved  int
	placed map[topology.Key]int
}

// placings is how often one replica gets a source in one relocation: one that stops
// receiving again and again would never let it end.
const placings = 3

// Run carries out the open relocation id until it is closed. An error means that
// it is not closed: ctx has ended, the ledger could not be reached, or this
// controller no longer leads. Whoever runs it next goes on by what it sees.
func (r *Relocator) Run(ctx context.Context, id string) (ledger.Recovery, error) {
	rec, ok := r.ledger.State().Recoveries[id]
	switch {
	case !ok:
		return rec, fmt.Errorf("relocation %s is not in the ledger", id)
	case rec.Kind != ledger.Relocate:
		return rec, fmt.Errorf("recovery %s is a %s, not a relocation", id, rec.Kind)
	case !rec.Open():
		return rec, nil
	}
	m := &mission{
		Relocator: r, id: id, cluster: rec.Cluster, subject: rec.Old,
		sessions: r.sessions(ctx, rec.Cluster), lost: map[topology.Key]string{},
		placed: map[topology.Key]int{},
	}
	defer m.sessions.Close()
	if rec.Leader != r.cfg.Self {
		if err := executor.Propose(ctx, r.ledger, ledger.ResumeRecovery{Recovery: id, Leader: r.cfg.Self, At: r.cfg.Now()}); err != nil {
			return m.recovery(), err
		}
	}
	err := m.carryOut(ctx)
	if err == nil {
		err = m.close(ctx)
	}
	if rec = m.recovery(); !rec.Open() {
		return rec, nil // also where a failover was claimed meanwhile, which ends it
	}
	return rec, err
}

func (m *mission) recovery() ledger.Recovery { return m.ledger.State().Recoveries[m.id] }

// carryOut moves the orphans, the foremost first. Those that find no source are
// tried again once others have found theirs, since they may go below them.
func (m *mission) carryOut(ctx context.Context) error {
	for movedBefore := -1; movedBefore < m.moved; {
		movedBefore = m.moved
		clear(m.lost)
		for {
			s := m.picture(ctx, m.cluster)
			if err := ctx.Err(); err != nil {
				return err
			}
			if !m.recovery().Open() {
				return fmt.Errorf("relocation %s was ended by somebody else: %s", m.id, m.recovery().Message)
			}
			orphans := m.orphans(s)
			if len(orphans) == 0 {
				break
			}
			if err := m.wave(ctx, s, foremost(s, orphans)); err != nil {
				return err
			}
		}
		if len(m.lost) == 0 {
			break
		}
	}
	return nil
}

// orphans are, in order, the replicas that still need a source: those of the
// subject that do not receive from it, and those that an earlier leader may have
// left half moved. It notes those that cannot be moved as lost.
func (m *mission) orphans(s topology.Snapshot) []topology.Key {
	p, rec := m.cfg.Policy(m.cluster), m.recovery()
	keys := append(s.Replicas(m.subject), begun(rec)...)
	slices.SortFunc(keys, topology.Key.Compare)
	var out []topology.Key
	for _, k := range slices.Compact(keys) {
		o, _ := s.Sight(k)
		why, given := s.Downtimed[k]
		_, failed := m.lost[k]
		switch {
		case failed || k == s.Master || k == m.subject:
		case o.Instance == nil:
			m.lose(k, fmt.Sprintf("it does not answer: %s", o.Reach))
		case o.Instance.Replication == nil:
			// Somebody has detached or promoted it meanwhile.
		case receives(o, p):
			// The subject lives for it, or it has its new source.
		case given && rec.Automatic:
			m.lose(k, why)
		case m.placed[k] >= placings:
			m.lose(k, fmt.Sprintf("it was given a source %d times, the last one %s, and stopped receiving each time",
				m.placed[k], s.Servers[k].Source))
		default:
			out = append(out, k)
		}
	}
	return out
}

// begun are the replicas for which the journal has a source chosen.
func begun(rec ledger.Recovery) []topology.Key {
	var out []topology.Key
	for _, s := range rec.Steps {
		if s.Name == string(plan.ChooseSource) && !s.Subject.IsZero() {
			out = append(out, s.Subject)
		}
	}
	return out
}

// wave moves some orphans side by side. None of them becomes the source of
// another meanwhile, so that no two can end in a ring.
func (m *mission) wave(ctx context.Context, s topology.Snapshot, orphans []topology.Key) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		fatal []error
	)
	slots := make(chan struct{}, atOnce)
	for _, k := range orphans {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := m.move(ctx, s, k, orphans)
			if err != nil && (errors.Is(err, executor.ErrDeposed) || ctx.Err() != nil) {
				mu.Lock()
				defer mu.Unlock()
				fatal = append(fatal, err)
				return
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if err != nil {
				m.lost[k] = err.Error()
				return
			}
			m.moved++
			m.placed[k]++
		})
	}
	wg.Wait()
	return errors.Join(fatal...)
}

func (m *mission) lose(k topology.Key, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost[k] = why
}

func (m *mission) close(ctx context.Context) error {
	s := m.picture(ctx, m.cluster)
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := ledger.CloseRelocation{Recovery: m.id, At: m.cfg.Now(), Outcome: ledger.Completed}
	placed := map[topology.Key]int{}
	for _, k := range slices.Compact(slices.SortedFunc(slices.Values(begun(m.recovery())), topology.Key.Compare)) {
		if _, lost := m.lost[k]; !lost && s.Servers[k].Source != m.subject {
			placed[s.Servers[k].Source]++
		}
	}
	delete(placed, topology.Key{})
	count := 0
	for _, k := range slices.SortedFunc(maps.Keys(placed), topology.Key.Compare) {
		count += placed[k]
		if cmd.Winner.IsZero() || placed[k] > placed[cmd.Winner] {
			cmd.Winner = k
		}
	}
	var reasons []string
	cmd.Lost = slices.SortedFunc(maps.Keys(m.lost), topology.Key.Compare)
	for _, k := range cmd.Lost {
		reasons = append(reasons, fmt.Sprintf("%s: %s", k, m.lost[k]))
	}
	switch {
	case count == 0 && len(cmd.Lost) == 0:
		cmd.Message = fmt.Sprintf("nothing was left to move: all replicas of %s receive", m.subject)
	case len(cmd.Lost) == 0:
		cmd.Message = fmt.Sprintf("%d of %d replicas have another source", count, count)
	default:
		cmd.Message = fmt.Sprintf("%d of %d replicas have another source; not: %s", count, count+len(cmd.Lost), strings.Join(reasons, "; "))
		cmd.Outcome = ledger.Incomplete
		if count == 0 {
			cmd.Outcome = ledger.Failed
		}
	}
	m.log.Info("relocation ended", "recovery", m.id, "cluster", m.cluster, "outcome", cmd.Outcome, "message", cmd.Message)
	return executor.Propose(ctx, m.ledger, cmd)
}

// record writes one step. It waits for the ledger, so that the next leader knows
// which replicas were begun with.
func (m *mission) record(ctx context.Context, step ledger.Step, err error) error {
	step.Leader, step.EndedAt, step.Outcome = m.cfg.Self, m.cfg.Now(), ledger.StepDone
	if err != nil {
		step.Outcome, step.Note = ledger.StepFailed, err.Error()
	}
	m.log.Info("step", "recovery", m.id, "step", step.Name, "instance", step.Subject.String(),
		"outcome", step.Outcome, "note", step.Note)
	err = executor.Propose(ctx, m.ledger, ledger.RecordSteps{Recovery: m.id, Steps: []ledger.Step{step}})
	var rejection *ledger.Rejection
	if errors.As(err, &rejection) {
		// A journal that is full holds nothing up.
		m.log.Warn("a step is missing from the journal", "recovery", m.id, "error", err)
		return nil
	}
	return err
}
