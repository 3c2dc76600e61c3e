package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Owner is who owns what is written to the ledger unasked.
const Owner = "switchyard"

// drainLost bounds how long a lost replica may take to apply what it received
// before it is detached: nobody waits for it.
const drainLost = 10 * time.Second

// maxReason keeps the reason of a loss short enough for the ledger.
const maxReason = 600

// losses are the servers that do not follow the winner, and why.
type losses struct {
	mu  sync.Mutex
	why map[topology.Key]string
}

func (l *losses) set(k topology.Key, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.why = map[topology.Key]string{}
	}
	l.why[k] = why
}

func (l *losses) drop(k topology.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.why, k)
}

func (l *losses) has(k topology.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.why[k]
	return ok
}

func (l *losses) all() map[topology.Key]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.why)
}

// detachLost deals with the servers that were lost, so that nobody takes them for
// what they are not: those that cannot follow the winner are detached; all of
// them are in downtime for a while. It fails only where this controller does not
// lead any more: the winner serves, whatever became of the others.
func (r *run) detachLost(ctx context.Context) (string, error) {
	rec, state := r.recovery(), r.ledger.State()
	var keys []topology.Key
	for k := range r.lost.all() {
		// A server in no good standing is fenced and brought back for that reason.
		if k != rec.Old && state.Servers[k].Standing == ledger.Member {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return "nobody is lost", nil
	}
	slices.SortFunc(keys, topology.Key.Compare)
	var (
		mu   sync.Mutex
		said []string
	)
	failed := r.each(keys, func(k topology.Key) error {
		note, err := r.lose(ctx, k)
		mu.Lock()
		defer mu.Unlock()
		if note != "" {
			said = append(said, note)
		}
		return err
	})
	if err := deposedAmong(failed); err != nil {
		return "", err
	}
	slices.Sort(said)
	return strings.Join(said, "; ") + suffix(failed), nil
}

// lose deals with one server that was lost, and says what it did.
func (r *run) lose(ctx context.Context, k topology.Key) (string, error) {
	o := r.look(ctx, k)
	if o.Instance == nil {
		why := fmt.Sprintf("it did not answer: %s", o.Reach)
		r.lost.set(k, why)
		down, err := r.downtime(ctx, k)
		return fmt.Sprintf("%s: %s%s; it is brought back when it answers", k, why, down), err
	}
	// What kept it may have passed, and a second attempt costs nothing now.
	why, broken := stoppedReceiving(o.Instance, r.recovery().Winner)
	if !broken {
		err := r.follow(ctx, k, r.recovery().Winner)
		if err == nil {
			// Nobody looks again before this recovery ends: the next one must know
			// that it replicates from the winner.
			r.look(ctx, k)
			r.lost.drop(k)
			return fmt.Sprintf("%s follows the winner after all", k), nil
		}
		if errors.Is(err, ErrDeposed) || ctx.Err() != nil {
			return "", err
		}
		why = err.Error()
	}
	if extra := r.extra(ctx, o.Instance); extra != "" {
		why = extra
	}
	why = why[:min(len(why), maxReason)]
	r.lost.set(k, why)
	// In this order, so that a leader that comes after a crash in between knows who
	// was lost: one that is detached is below nobody any more.
	down, err := r.downtime(ctx, k)
	if err != nil {
		return "", err
	}
	detached, err := r.detachOne(ctx, k, why)
	return fmt.Sprintf("%s cannot follow the winner: %s; %s%s", k, why, detached, down), err
}

// extra says what a server holds that the winner lacks, or nothing.
func (r *run) extra(ctx context.Context, i *topology.Instance) string {
	theirs := r.look(ctx, r.recovery().Winner)
	if theirs.Instance == nil {
		return ""
	}
	extra := i.Executed.Subtract(theirs.Instance.Executed)
	if extra.IsEmpty() {
		return ""
	}
	text := extra.String()
	if len(text) > 160 {
		text = text[:160] + "..."
	}
	return "it holds what the winner lacks: " + text
}

// detachOne detaches one server that cannot follow. That it was meant is in the
// ledger before it is done, and taken back where it was not possible.
func (r *run) detachOne(ctx context.Context, k topology.Key, why string) (string, error) {
	source := r.looker.Snapshot(r.recovery().Cluster, r.recovery().Winner).Servers[k].Source
	if source.IsZero() {
		source = r.recovery().Old
	}
	mark := ledger.SetDetached{Server: k, From: source, By: Owner, Reason: ledger.LostInRecovery + ": " + why, At: r.cfg.Now()}
	if err := r.propose(ctx, mark); err != nil {
		return "", err
	}
	err := DetachDrained(ctx, r.sessions, r.looker, k, drainLost)
	if err == nil {
		return "it is detached", nil
	}
	if errors.Is(err, ErrDeposed) || ctx.Err() != nil {
		return "", err
	}
	mark.From, mark.At = topology.Key{}, r.cfg.Now()
	return fmt.Sprintf("it could not be detached: %v", err), r.propose(ctx, mark)
}

// downtime puts a lost server in downtime, unless somebody else did already.
func (r *run) downtime(ctx context.Context, k topology.Key) (string, error) {
	if r.policy.LostDowntime <= 0 {
		return "", nil
	}
	now := r.cfg.Now()
	if d, ok := r.ledger.State().Downtimes[k]; ok && d.Active(now) && d.Reason != ledger.LostInRecovery {
		return fmt.Sprintf(", and in downtime already (%s: %s)", d.Owner, d.Reason), nil
	}
	return fmt.Sprintf(", and in downtime for %s", r.policy.LostDowntime), r.propose(ctx, ledger.BeginDowntime{
		Server: k, Owner: Owner, Reason: ledger.LostInRecovery, Until: now.Add(r.policy.LostDowntime), At: now,
	})
}

// stoppedReceiving says why a server that is pointed to source gets nothing from
// it and will not by itself.
func stoppedReceiving(i *topology.Instance, source topology.Key) (string, bool) {
	if !follows(i, source) || i.Replication.IO != topology.ThreadStopped || i.Replication.IOErrno == 0 {
		return "", false
	}
	return fmt.Sprintf("its receiver stopped with error %d: %s", i.Replication.IOErrno, i.Replication.IOError), true
}

// lostServers are, in order, who was lost in this recovery, also where an
// earlier leader has dealt with them.
func (r *run) lostServers() []topology.Key {
	rec, state := r.recovery(), r.ledger.State()
	keys := slices.Collect(maps.Keys(r.lost.all()))
	for k, d := range state.Downtimes {
		if state.Servers[k].Cluster == rec.Cluster && d.Reason == ledger.LostInRecovery && !d.Begun.Before(rec.StartedAt) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.Compact(keys)
}

// lostNote says who was lost, and why, as far as this leader knows.
func (r *run) lostNote() string {
	why := r.lost.all()
	var out []string
	for _, k := range r.lostServers() {
		reason := why[k]
		if reason == "" {
			reason = strings.TrimPrefix(r.ledger.State().Servers[k].DetachedReason, ledger.LostInRecovery+": ")
		}
		if reason == "" {
			reason = "see the journal"
		}
		out = append(out, fmt.Sprintf("%s: %s", k, strings.TrimPrefix(reason, k.String()+": ")))
	}
	if len(out) == 0 {
		return ""
	}
	return "; lost: " + strings.Join(out, "; ")
}
