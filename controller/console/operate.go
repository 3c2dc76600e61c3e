package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// ErrNotLeader is what a Ledger's Propose returns, wrapped, for a command that
// was not sent because this controller does not lead; ErrUnknownOutcome for one
// that was sent, and of which nobody knows whether it was taken.
var (
	ErrNotLeader      = errors.New("this controller does not lead")
	ErrUnknownOutcome = errors.New("whether it was done is not known")
)

// nobody is who asks where nobody said.
const nobody = "an operator"

// BeginDowntime implements adminapi.Operations.
func (c *Console) BeginDowntime(ctx context.Context, r wire.DowntimeRequest) (wire.Done, error) {
	srv, err := c.server(r.Server)
	if err != nil {
		return wire.Done{}, err
	}
	now, by := c.cfg.Now(), cmp.Or(r.By, nobody)
	owner, until := cmp.Or(r.Owner, by), now.Add(time.Duration(r.Duration))
	if err := c.propose(ctx, ledger.BeginDowntime{
		Server: r.Server, Owner: owner, By: by, Reason: r.Reason, Until: until, At: now,
	}); err != nil {
		return wire.Done{}, err
	}
	return wire.Done{
		Action: "begin-downtime", Cluster: srv.Cluster, Server: r.Server, By: by, Changed: true, Until: until,
		Sentence: fmt.Sprintf("%s is in downtime until %s (%s), owned by %s: nothing is done about it unasked",
			r.Server, stamp(until), r.Duration, owner),
	}, nil
}

// EndDowntime implements adminapi.Operations.
func (c *Console) EndDowntime(ctx context.Context, r wire.ServerRequest) (wire.Done, error) {
	srv, err := c.server(r.Server)
	if err != nil {
		return wire.Done{}, err
	}
	out := wire.Done{Action: "end-downtime", Cluster: srv.Cluster, Server: r.Server, By: cmp.Or(r.By, nobody)}
	d, ok := c.ledger.State().Downtimes[r.Server]
	if !ok || !d.Active(c.cfg.Now()) {
		out.Sentence = fmt.Sprintf("%s is not in downtime", r.Server)
		return out, nil
	}
	if err := c.propose(ctx, ledger.EndDowntime{Server: r.Server, By: out.By, Reason: r.Reason, At: c.cfg.Now()}); err != nil {
		return wire.Done{}, err
	}
	out.Changed = true
	out.Sentence = fmt.Sprintf("the downtime of %s has ended; it was of %s: %s", r.Server, d.Owner, d.Reason)
	return out, nil
}

// PromotionRule implements adminapi.Operations.
func (c *Console) PromotionRule(ctx context.Context, r wire.RuleRequest) (wire.Done, error) {
	srv, err := c.server(r.Server)
	if err != nil {
		return wire.Done{}, err
	}
	now := c.cfg.Now()
	out := wire.Done{Action: "promotion-rule", Cluster: srv.Cluster, Server: r.Server, By: cmp.Or(r.By, nobody)}
	old, had := c.ledger.State().Rules[r.Server]
	if r.Clear && !had {
		out.Sentence = fmt.Sprintf("%s has no rule but the configuration's", r.Server)
		return out, nil
	}
	cmd := ledger.SetPromotionRule{Server: r.Server, Rule: r.Rule, By: out.By, Reason: r.Reason, At: now}
	if r.For != 0 {
		out.Until = now.Add(time.Duration(r.For))
		cmd.Until = out.Until
	}
	if err := c.propose(ctx, cmd); err != nil {
		return wire.Done{}, err
	}
	out.Changed = true
	switch {
	case r.Clear:
		out.Sentence = fmt.Sprintf("the rule %s of %s is taken back: the configuration's counts again", old.Rule, r.Server)
	case out.Until.IsZero():
		out.Sentence = fmt.Sprintf("%s is %s until the rule is taken back", r.Server, r.Rule)
	default:
		out.Sentence = fmt.Sprintf("%s is %s until %s (%s)", r.Server, r.Rule, stamp(out.Until), r.For)
	}
	return out, nil
}

// Pause implements adminapi.Operations.
func (c *Console) Pause(ctx context.Context, r wire.PauseRequest) (wire.Done, error) {
	if err := c.known(r.Cluster); err != nil {
		return wire.Done{}, err
	}
	out := wire.Done{Action: "pause", Cluster: r.Cluster, By: cmp.Or(r.By, nobody), Changed: true}
	cmd := ledger.PauseRecoveries{Cluster: r.Cluster, By: out.By, Reason: r.Reason, At: c.cfg.Now()}
	if err := c.propose(ctx, cmd); err != nil {
		return wire.Done{}, err
	}
	out.Sentence = fmt.Sprintf("automatic recoveries of %s are paused until somebody resumes them; "+
		"one that has begun goes on", which(r.Cluster))
	return out, nil
}

// Resume implements adminapi.Operations.
func (c *Console) Resume(ctx context.Context, r wire.ResumeRequest) (wire.Done, error) {
	if err := c.known(r.Cluster); err != nil {
		return wire.Done{}, err
	}
	out := wire.Done{Action: "resume", Cluster: r.Cluster, By: cmp.Or(r.By, nobody)}
	pauses := c.ledger.State().Pauses
	p, paused := pauses[r.Cluster]
	if paused {
		cmd := ledger.ResumeRecoveries{Cluster: r.Cluster, By: out.By, Reason: r.Reason, At: c.cfg.Now()}
		if err := c.propose(ctx, cmd); err != nil {
			return wire.Done{}, err
		}
		out.Changed = true
		out.Sentence = fmt.Sprintf("automatic recoveries of %s are no longer paused; they were by %s: %s",
			which(r.Cluster), p.By, p.Reason)
	} else {
		out.Sentence = fmt.Sprintf("automatic recoveries of %s were not paused", which(r.Cluster))
	}
	out.Sentence += stillPaused(pauses, r.Cluster)
	return out, nil
}

// stillPaused says which pauses are left that a person may have meant.
func stillPaused(pauses map[string]ledger.Pause, resumed string) string {
	if p, all := pauses[""]; resumed != "" && all {
		return fmt.Sprintf("; those of all clusters still are, by %s: %s (`switchyard resume` without a cluster ends that)",
			p.By, p.Reason)
	}
	left := slices.DeleteFunc(slices.Sorted(maps.Keys(pauses)), func(name string) bool { return name == "" })
	if resumed == "" && len(left) > 0 {
		return fmt.Sprintf("; those of %s still are, each for itself", strings.Join(left, ", "))
	}
	return ""
}

// Ack implements adminapi.Operations.
func (c *Console) Ack(ctx context.Context, r wire.AckRequest) (wire.Done, error) {
	out := wire.Done{Action: "ack", Cluster: r.Cluster, By: cmp.Or(r.By, nobody)}
	ids, err := c.unacknowledged(r)
	if err != nil {
		return wire.Done{}, err
	}
	for _, id := range ids {
		cmd := ledger.AckRecovery{Recovery: id, By: out.By, Comment: r.Comment, At: c.cfg.Now()}
		if err := c.propose(ctx, cmd); err != nil {
			if len(out.Recoveries) == 0 {
				return wire.Done{}, err
			}
			// Each stands for itself, and asking again does the rest.
			return wire.Done{}, fmt.Errorf("%s acknowledged, then %s: %w", strings.Join(out.Recoveries, ", "), id, err)
		}
		out.Recoveries = append(out.Recoveries, id)
	}
	switch out.Changed = len(ids) > 0; {
	case r.Recovery != "":
		out.Cluster = c.ledger.State().Recoveries[r.Recovery].Cluster
		out.Sentence = fmt.Sprintf("recovery %s is acknowledged", r.Recovery)
		if !out.Changed {
			out.Sentence = fmt.Sprintf("recovery %s was acknowledged before", r.Recovery)
		}
	case !out.Changed:
		out.Sentence = fmt.Sprintf("cluster %s has no recovery that waits for an acknowledgement", r.Cluster)
	default:
		out.Sentence = fmt.Sprintf("acknowledged: %s", strings.Join(ids, ", "))
	}
	return out, nil
}

// unacknowledged are the recoveries that r means, the oldest first.
func (c *Console) unacknowledged(r wire.AckRequest) ([]string, error) {
	state := c.ledger.State()
	if r.Recovery != "" {
		rec, ok := state.Recoveries[r.Recovery]
		switch {
		case !ok:
			return nil, noRecovery(r.Recovery)
		case rec.Open():
			return nil, wire.NewError(wire.Conflict, fmt.Sprintf("recovery %s has not ended", r.Recovery),
				"acknowledge it when it has")
		case rec.Ack != nil:
			return nil, nil
		}
		return []string{r.Recovery}, nil
	}
	if err := c.known(r.Cluster); err != nil {
		return nil, err
	}
	var found []ledger.Recovery
	for _, rec := range state.Recoveries {
		if rec.Cluster == r.Cluster && !rec.Open() && rec.Ack == nil {
			found = append(found, rec)
		}
	}
	slices.SortFunc(found, func(a, b ledger.Recovery) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	ids := make([]string, len(found))
	for i, rec := range found {
		ids[i] = rec.ID
	}
	return ids, nil
}

// propose commits one command, and gives the door's reason where it cannot be.
func (c *Console) propose(ctx context.Context, cmd ledger.Command) error {
	return told(c.ledger.Propose(ctx, cmd))
}

// told is what somebody is told whose command was not accepted.
func told(err error) error {
	var rejection *ledger.Rejection
	switch {
	case err == nil:
		return nil
	case errors.As(err, &rejection):
		return wire.NewError(wire.Conflict, rejection.Reason, "nothing was changed")
	case errors.Is(err, ErrNotLeader):
		return wire.NewError(wire.NotLeader, "this controller lost its leadership meanwhile; nothing was changed",
			"ask again: the next leader does it")
	case errors.Is(err, ErrUnknownOutcome):
		return wire.NewError(wire.Timeout, "the controllers did not agree in time: it may be done, or not",
			"see `switchyard audit`; asking again does no harm")
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return wire.NewError(wire.Timeout, fmt.Sprintf("nothing was changed: %v", err), "ask again")
	}
	return err
}

// server finds a server that somebody named.
func (c *Console) server(k topology.Key) (ledger.Server, error) {
	srv, ok := c.ledger.State().Servers[k]
	if !ok {
		return srv, wire.NewError(wire.NotFound, fmt.Sprintf("there is no server %s", k),
			"see `switchyard topology` for the servers, by the names that they have there")
	}
	return srv, nil
}

// known checks a cluster's name; nothing is all of them.
func (c *Console) known(cluster string) error {
	if _, ok := c.ledger.State().Clusters[cluster]; !ok && cluster != "" {
		return c.noCluster(cluster)
	}
	return nil
}

// member checks that a cluster is known, and that to is empty or one of its servers.
func (c *Console) member(cluster string, to topology.Key) error {
	state := c.ledger.State()
	if _, ok := state.Clusters[cluster]; !ok {
		return c.noCluster(cluster)
	}
	if srv, known := state.Servers[to]; !to.IsZero() && (!known || srv.Cluster != cluster) {
		return wire.NewError(wire.NotFound, fmt.Sprintf("cluster %q has no server %s", cluster, to),
			"see `switchyard topology` for its servers")
	}
	return nil
}

func noRecovery(id string) error {
	return wire.NewError(wire.NotFound, fmt.Sprintf("there is no recovery %q", id),
		"see `switchyard recoveries` for those that are kept")
}

func which(cluster string) string { return cmp.Or(cluster, "all clusters") }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
