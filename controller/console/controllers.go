package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/concord"
	"switchyard/store/ledger"
)

// Members is this controller's part in raft.
type Members interface {
	// Voice is what raft says here; whose it is, is left empty.
	Voice() wire.Voice
	// Aside is why this controller stands aside; empty while it does not.
	Aside() string
	// TransferLeader makes a voter the leader, and returns who leads then.
	TransferLeader(ctx context.Context, id string) (leader string, err error)
	// Outside is why this controller has no part in raft; empty while it has.
	Outside() string
	// Change begins a change of the controllers, and Undo takes the open one back.
	// Their error may be a *ledger.Rejection.
	Change(ctx context.Context, change ledger.BeginControllerChange) error
	Undo(ctx context.Context, why string) error
}

const (
	// voiceTime is how long the list waits for the other controllers.
	voiceTime = time.Second
	// farBehind is a lag that a successor may not make up within an election
	// timeout, in entries of the raft log.
	farBehind = 1000
	// outcomeTime bounds the record of a transfer that failed.
	outcomeTime = 2 * time.Second
)

// Voice implements adminapi.Controllers.
func (c *Console) Voice(context.Context) (wire.Voice, error) {
	if c.cfg.Members == nil {
		return wire.Voice{}, wire.NewError(wire.Unavailable, "this controller gives no account of raft", "")
	}
	voice := c.cfg.Members.Voice()
	voice.ID = c.cfg.Self
	return voice, nil
}

// Controllers implements adminapi.Controllers: what each of them says of itself.
func (c *Console) Controllers(ctx context.Context) (wire.Controllers, error) {
	own, err := c.Voice(ctx)
	if err != nil {
		return wire.Controllers{}, err
	}
	voices, silent := c.voices(ctx, own)
	counted := c.ledger.State().Controllers
	out := wire.Controllers{Controller: c.cfg.Self, Set: counted.Number}
	if open := counted.Change; open != nil {
		out.Change = &wire.ControllersChange{Change: string(open.Kind), ID: open.ID, By: open.By, Since: open.Since, Undoing: open.Undoing}
	}
	var applied uint64
	for _, v := range voices {
		// The newest term's word on who leads counts.
		if v.Leader != "" && v.Term >= out.Term {
			out.Leader, out.Term = v.Leader, v.Term
		}
		applied = max(applied, v.AppliedIndex)
	}
	out.Term = max(out.Term, own.Term)
	if leader, ok := voices[out.Leader]; ok {
		applied = leader.AppliedIndex
	}
	verdict := judge(own, voices)
	for _, known := range c.everybody(own.Members) {
		one := account(known, own.Members, voices, silent)
		diverged(&one, voices[known.ID], verdict)
		if one.Reachable && applied > one.AppliedIndex {
			one.Lag = applied - one.AppliedIndex
		}
		if one.Role == wire.Voter {
			out.Voters++
			if one.Reachable {
				out.Answering++
			}
		}
		out.Controllers = append(out.Controllers, one)
	}
	out.Majority = out.Voters/2 + 1
	out.Problems = append(quorum(out), disagreements(c.cfg.Controllers(), own, voices)...)
	if c.cfg.Miscounts != nil {
		out.Problems = append(out.Problems, c.cfg.Miscounts()...)
	}
	if where := c.misplaced(out.Leader); where != "" {
		out.Problems = append(out.Problems, where)
	}
	if verdict.Split != "" {
		out.Problems = append(out.Problems, verdict.Split)
	}
	return out, nil
}

// voices are what the controllers say of themselves, by their ids, and why some
// said nothing.
func (c *Console) voices(ctx context.Context, own wire.Voice) (map[string]wire.Voice, map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, voiceTime)
	defer cancel()
	voices, silent := map[string]wire.Voice{c.cfg.Self: own}, map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, peer := range c.cfg.Controllers() {
		if peer.ID == c.cfg.Self || c.cfg.Voice == nil {
			continue
		}
		all.Go(func() {
			voice, err := c.cfg.Voice(ctx, peer.ID)
			if err == nil && voice.ID != peer.ID {
				err = fmt.Errorf("%s answers at its address", voice.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent[peer.ID] = err
				return
			}
			voices[peer.ID] = voice
		})
	}
	all.Wait()
	return voices, silent
}

// everybody are the controllers of the ledger, or of the configuration file, and
// those that raft counts beside them.
func (c *Console) everybody(members []wire.Member) []wire.Controller {
	all := slices.Clone(c.cfg.Controllers())
	for _, m := range members {
		if !slices.ContainsFunc(all, func(known wire.Controller) bool { return known.ID == m.ID }) {
			all = append(all, wire.Controller{ID: m.ID, Raft: m.Raft})
		}
	}
	return all
}

// account is what is known of one controller.
func account(known wire.Controller, members []wire.Member, voices map[string]wire.Voice, silent map[string]error) wire.ControllerAccount {
	out := wire.ControllerAccount{Controller: known, Role: wire.Stranger}
	for _, m := range members {
		if m.ID == known.ID && m.Voter {
			out.Role = wire.Voter
		} else if m.ID == known.ID {
			out.Role = wire.Nonvoter
		}
	}
	v, ok := voices[known.ID]
	if !ok {
		out.State, out.Problem = "unreachable", "the configuration file has no address of it"
		if err := silent[known.ID]; err != nil {
			out.Problem = err.Error()
		}
		return out
	}
	out.Reachable, out.State, out.Term, out.AppliedIndex = true, v.State, v.Term, v.AppliedIndex
	switch {
	case v.Leader == "":
		out.Problem = "it knows no leader"
	case v.State != "leader" && v.LastContactMS >= 0:
		out.LastContactMS = &v.LastContactMS
	}
	return out
}

// Concord compares the ledgers of all controllers that answer.
func (c *Console) Concord(ctx context.Context) (concord.Verdict, error) {
	own, err := c.Voice(ctx)
	if err != nil {
		return concord.Verdict{}, err
	}
	voices, _ := c.voices(ctx, own)
	return judge(own, voices), nil
}

func judge(own wire.Voice, voices map[string]wire.Voice) concord.Verdict {
	var voters []string
	for _, m := range own.Members {
		if m.Voter {
			voters = append(voters, m.ID)
		}
	}
	said := map[string][]wire.Mark{}
	for id, v := range voices {
		said[id] = v.Marks
	}
	return concord.Judge(voters, said)
}

// diverged fills in that a controller's ledger differs: what it says itself, or what
// is seen of it here.
func diverged(one *wire.ControllerAccount, said wire.Voice, verdict concord.Verdict) {
	stray, seen := verdict.Of(one.ID)
	switch {
	case said.Aside != "":
		one.Diverged, one.Problem = true, said.Aside
	case seen:
		one.Diverged = true
		one.Problem = fmt.Sprintf("its ledger differs from that of the majority (%s) at raft entry %d: take it out (`switchyard controllers "+
			"remove`), stop it, empty its data_dir, start it with join: true and add it again", strings.Join(stray.Holders, ", "), stray.Index)
	}
}

// quorum says how near the voters are to deciding nothing.
func quorum(all wire.Controllers) []string {
	switch lost := all.Voters - all.Answering; {
	case all.Answering < all.Majority:
		return []string{fmt.Sprintf("%d of %d voters answer here, and %d must: where that is so everywhere, nothing is decided",
			all.Answering, all.Voters, all.Majority)}
	case lost > 0 && all.Answering == all.Majority:
		return []string{fmt.Sprintf("%d of %d voters answer here, and %d must: none may be lost", all.Answering, all.Voters, all.Majority)}
	}
	return nil
}

// disagreements are controllers that count others than this one does, and a
// ledger, or a configuration file, that names others than raft counts.
func disagreements(configured []wire.Controller, own wire.Voice, voices map[string]wire.Voice) []string {
	var out []string
	mine := names(own.Members)
	var named, members []string
	for _, m := range own.Members {
		members = append(members, m.ID)
	}
	ids := strings.Join(slices.Sorted(slices.Values(members)), ", ")
	for _, known := range configured {
		named = append(named, known.ID)
	}
	if file := strings.Join(slices.Sorted(slices.Values(named)), ", "); file != ids {
		out = append(out, fmt.Sprintf("the controllers are to be %s, and raft counts %s", file, ids))
	}
	for _, id := range slices.Sorted(maps.Keys(voices)) {
		if theirs := names(voices[id].Members); theirs != mine {
			out = append(out, fmt.Sprintf("%s counts the controllers %s, and %s counts %s", id, theirs, own.ID, mine))
		}
	}
	return out
}

// names lists members, with those that have no vote marked.
func names(members []wire.Member) string {
	var out []string
	for _, m := range members {
		name := m.ID
		if !m.Voter {
			name += " (" + wire.Nonvoter + ")"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TransferLeader implements adminapi.Controllers.
func (c *Console) TransferLeader(ctx context.Context, r wire.TransferRequest) (wire.Done, error) {
	all, err := c.Controllers(ctx)
	if err != nil {
		return wire.Done{}, err
	}
	out := wire.Done{Action: "transfer-leader", By: cmp.Or(r.By, nobody)}
	if r.To == c.cfg.Self {
		out.Sentence = fmt.Sprintf("%s leads already", c.cfg.Self)
		return out, nil
	}
	to, err := c.heir(all, r.To)
	if err != nil {
		return wire.Done{}, err
	}
	if open := c.underWay(); len(open) > 0 && !r.Force {
		return wire.Done{}, wire.NewError(wire.Conflict, fmt.Sprintf("%s is under way", strings.Join(open, ", ")),
			"wait for its end; --force hands over all the same, and the next leader goes on with it")
	}
	if err := c.hand(ctx, to, ledger.AuditEntry{Kind: ledger.AuditOperator, By: out.By, Reason: r.Reason}); err != nil {
		return wire.Done{}, err
	}
	out.Changed, out.Sentence = true, fmt.Sprintf("%s leads now, in the place of %s", to, c.cfg.Self)
	return out, nil
}

// hand gives leadership to a controller; entry says for the audit who wants it,
// and why.
func (c *Console) hand(ctx context.Context, to string, entry ledger.AuditEntry) error {
	entry.At, entry.Action = c.cfg.Now(), "transfer-leader"
	entry.Evidence = []string{fmt.Sprintf("from %s to %s", c.cfg.Self, to)}
	// Before the deed: afterwards this controller can write nothing.
	if err := c.propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{entry}}); err != nil {
		return err
	}
	leader, err := c.cfg.Members.TransferLeader(ctx, to)
	if err == nil && leader != to {
		err = fmt.Errorf("%s leads now", leader)
	}
	if err != nil {
		return c.notTransferred(ctx, entry, to, err)
	}
	return nil
}

// heir is who is to lead: the one that was named, or the one that is furthest.
func (c *Console) heir(all wire.Controllers, named string) (string, error) {
	var best *wire.ControllerAccount
	reasons := map[string]string{}
	for i := range all.Controllers {
		one := &all.Controllers[i]
		if one.ID == c.cfg.Self {
			continue
		}
		if reason := cmp.Or(unfit(*one, all.Leader), c.elsewhere(one.ID)); reason != "" {
			reasons[one.ID] = reason
			continue
		}
		if one.ID == named || named == "" && (best == nil || one.AppliedIndex > best.AppliedIndex) {
			best = one
		}
	}
	reason, known := reasons[named]
	switch {
	case best != nil:
		return best.ID, nil
	case known:
		return "", wire.NewError(wire.Conflict, fmt.Sprintf("%s cannot lead: %s", named, reason),
			"nothing was changed; name another one")
	case named != "":
		return "", wire.NewError(wire.NotFound, fmt.Sprintf("there is no controller %q", named),
			"see `switchyard controllers list` for those there are")
	}
	var why []string
	for _, id := range slices.Sorted(maps.Keys(reasons)) {
		why = append(why, id+": "+reasons[id])
	}
	return "", wire.NewError(wire.Conflict, cmp.Or(strings.Join(why, "; "), "there is no other controller"),
		fmt.Sprintf("nothing was changed, %s leads still", c.cfg.Self))
}

// unfit is why a controller should not be handed leadership; empty for one that may.
func unfit(one wire.ControllerAccount, leader string) string {
	switch {
	case one.Role != wire.Voter:
		return "it is no voter"
	case !one.Reachable, one.State != "follower":
		return cmp.Or(one.Problem, "it is "+one.State)
	case one.LastContactMS == nil || leader == "":
		return cmp.Or(one.Problem, "it has not heard of the leader")
	case one.Diverged:
		return one.Problem
	case one.Lag > farBehind:
		return fmt.Sprintf("it is %d entries behind", one.Lag)
	}
	return ""
}

// underWay are the recoveries that have not ended.
func (c *Console) underWay() []string {
	var open []string
	for id, rec := range c.ledger.State().Recoveries {
		if rec.Open() {
			open = append(open, "recovery "+id)
		}
	}
	slices.Sort(open)
	return open
}

// notTransferred records that leadership did not go where it was to, and says who
// leads.
func (c *Console) notTransferred(ctx context.Context, entry ledger.AuditEntry, to string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeTime)
	defer cancel()
	entry.At, entry.Outcome = c.cfg.Now(), "failed: "+cause.Error()
	// Only where this controller leads still is the record its own to write; the
	// entry before says what was asked.
	err := c.ledger.Propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{entry}})
	if err != nil && !errors.Is(err, ErrNotLeader) {
		cause = errors.Join(cause, fmt.Errorf("and it could not be recorded: %w", err))
	}
	return wire.NewError(wire.Failed, fmt.Sprintf("leadership was not handed to %s: %v", to, cause),
		"see `switchyard controllers list` for who leads")
}
