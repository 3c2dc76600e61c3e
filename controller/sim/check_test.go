package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// The rules, by the names under which a violation is reported.
const (
	ruleCommitted  = "a winner is committed before it is made writable"
	ruleEpochOnce  = "two promotions never share an epoch"
	ruleEpochs     = "epochs never go back"
	ruleOneWriter  = "in one epoch one server takes the applications' writes"
	ruleTwoMasters = "no two proxies lead to two writable servers"
	ruleOldFirst   = "the old master is withdrawn, fenced or gone before the new one is writable"
	ruleOutlast    = "a master that is cut off is stopped by its sidecar before another one is writable"
	ruleComplete   = "a failover is complete only when every proxy follows"
	ruleVerified   = "leadership is verified before every effect"
	ruleLease      = "nobody is promoted by who was deposed long ago"
	ruleReceived   = "the winner holds all that any reachable replica received"
	ruleAcked      = "nothing acknowledged is lost where that is said to be proven"
	ruleAntiFlap   = "one automatic failover per anti-flap window"
	ruleRefusal    = "a refusal moved nothing"
	ruleFenced     = "a master that was replaced is fenced when it is back"
	ruleByHand     = "what somebody made read-only stays so"
	ruleLiving     = "a master that everybody reaches is not failed over"
	ruleLive       = "after the faults the cluster is writable, or holds for good reason"
)

// checker knows the rules and watches the world.
type checker struct {
	w *world
	// rule is the one that was broken first, and why says how.
	rule, why string

	winners   map[uint64]topology.Key // by epoch
	writers   map[uint64]*server      // by epoch
	need      bits                    // what the winner of the open recovery must hold
	needOf    string
	claimedAt time.Duration
	served    bool // the open recovery began while the master was served
	lastEnd   time.Duration
	everEnded bool
	jumped    bool
	forced    bool
	// cutOff: the master was cut off from all controllers at the claim, and ran.
	cutOff bool
	// proven and unproven: a failover said that nothing is lost, or may be.
	proven, unproven bool
	// earlier is what unproven was before the recovery that is open.
	earlier   bool
	madeAt    map[*server]time.Duration // when a server was last made writable
	loose     map[*server]time.Duration // since when a server is writable beside the master
	operators int
	healedAt  time.Duration
	goodSince time.Duration
	good      bool
}

func newChecker(w *world) *checker {
	return &checker{w: w, winners: map[uint64]topology.Key{}, writers: map[uint64]*server{}, loose: map[*server]time.Duration{},
		madeAt: map[*server]time.Duration{}}
}

func (k *checker) broken(rule, format string, args ...any) {
	if k.rule != "" || slices.Contains(k.w.cfg.mutant.mute, rule) {
		return
	}
	k.rule, k.why = rule, fmt.Sprintf(format, args...)
	k.w.note("BROKEN: %s: %s", rule, k.why)
	k.w.over = true
}

// always holds after every event.
func (k *checker) always() {
	var led *server
	for _, p := range k.w.proxies {
		s := p.leads
		if !p.live() || s == nil || !s.up || s.readOnly {
			continue
		}
		if led != nil && led != s {
			k.broken(ruleTwoMasters, "%s and %s", led.key.Host, s.key.Host)
		}
		led = s
	}
}

// wrote is told of every write of an application.
func (k *checker) wrote(p *proxy, s *server) {
	n := p.epoch.Number
	if before := k.writers[n]; before != nil && before != s {
		k.broken(ruleOneWriter, "epoch %d: %s and %s", n, before.key.Host, s.key.Host)
	}
	k.writers[n] = s
	k.w.stats.writes++
}

// unverified is told of an effect without a verification right before it.
func (k *checker) unverified(c *controller, what string) {
	k.broken(ruleVerified, "%s by %s", what, c.name())
}

// madeWritable is told of each server that becomes writable.
func (k *checker) madeWritable(c *controller, s *server) {
	state := k.w.raft.committed()
	cl := state.Clusters[cluster]
	rec, open := state.Recoveries[cl.Recovery]
	switch {
	case open && rec.Winner == s.key:
		n := rec.Epoch.Number
		if other, ok := k.winners[n]; ok && other != s.key {
			k.broken(ruleEpochOnce, "%d: %s and %s", n, other.Host, s.key.Host)
		}
		k.winners[n] = s.key
	case !open && cl.Master == s.key:
	case state.Servers[s.key].Standing == ledger.Deposed:
		// A statement that waited in a frozen server: it is known that it may be writable.
	default:
		k.broken(ruleCommitted, "%s, by %s; recovery %q has the winner %q", s.key.Host, c.name(), rec.ID, rec.Winner.Host)
	}
	for _, p := range k.w.proxies {
		if o := p.leads; p.live() && o != nil && o != s && o.up && !o.readOnly {
			k.broken(ruleOldFirst, "%s leads to %s while %s is made writable", p.name, o.key.Host, s.key.Host)
		}
	}
	if open && rec.Kind == ledger.Failover && !rec.Forced {
		k.outlived(c, s, k.w.server(rec.Old))
	}
	if open && rec.Kind == ledger.Failover && rec.Winner == s.key && k.needOf == rec.ID {
		if id := s.has.lacks(k.need); id >= 0 {
			k.broken(ruleReceived, "%s lacks %s", s.key.Host, k.w.transactions[id].set)
		}
	}
	// Uptimes are whole seconds: one that was made writable in the first second of
	// its life seems to have started after that.
	young := k.madeAt[s]-s.startedAt < time.Second
	if s.operator && open && rec.Kind == ledger.Reinstate && k.served && told(state, rec) && !young {
		k.broken(ruleByHand, "%s", s.key.Host)
	}
	k.madeAt[s] = k.w.now()
	// What a frozen server had queued is as old as its thaw is late.
	c.mu.Lock()
	verified := c.verified
	c.mu.Unlock()
	if age := k.w.now() - verified; age > time.Second && !s.unseen && s.disturbed < k.w.now()-time.Second {
		k.broken(ruleLease, "%s by %s, which was last known to lead %s ago", s.key.Host, c.name(), age)
	}
}

// told reports whether the ledger knows when the winner of the recovery before
// rec was proven writable: a leader that dies takes the last lines of its journal
// with it, and then a restart before that moment looks like one after it.
func told(state ledger.State, rec ledger.Recovery) bool {
	for _, before := range state.Recoveries {
		if before.Epoch != rec.EpochBefore || !before.OfMaster() {
			continue
		}
		return slices.ContainsFunc(before.Steps, func(s ledger.Step) bool {
			return s.Outcome == ledger.StepDone && (s.Name == string(plan.Promote) || s.Name == string(plan.Announce))
		})
	}
	return true
}

// committed is told of each command that was accepted.
func (k *checker) committed(before, after ledger.State, cmd ledger.Command) {
	was, is := before.Clusters[cluster], after.Clusters[cluster]
	if was.Master.IsZero() && !is.Master.IsZero() {
		k.winners[is.Epoch.Number] = is.Master
	}
	if is.Epoch.Compare(was.Epoch) < 0 {
		k.broken(ruleEpochs, "%s after %s", is.Epoch, was.Epoch)
	}
	switch cmd := cmd.(type) {
	case ledger.ClaimRecovery:
		k.claimed(was, cmd)
	case ledger.ChooseWinner:
		k.chose(after.Recoveries[cmd.Recovery])
	case ledger.JudgeDurability:
		k.judged(after.Recoveries[cmd.Recovery])
	case ledger.CloseRecovery:
		k.closed(before.Recoveries[cmd.Recovery], after.Recoveries[cmd.Recovery])
	case ledger.CloseRelocation:
		k.w.stats.recoveries["relocate "+string(cmd.Outcome)]++
	case ledger.SetStanding:
		k.w.stats.standings[string(cmd.Standing)]++
	}
}

func (k *checker) claimed(was ledger.Cluster, cmd ledger.ClaimRecovery) {
	k.claimedAt, k.served = k.w.now(), !was.Withdrawn
	k.cutOff = k.w.server(cmd.Old).alive()
	for _, c := range k.w.controllers {
		k.cutOff = k.cutOff && k.w.cut(c.id, cmd.Old.Host)
	}
	k.earlier = k.unproven
	if !cmd.Automatic || cmd.RecoveryKind != ledger.Failover {
		return
	}
	// The ledger counts from when its leader said that it had ended, a little before.
	if since := k.w.now() - k.lastEnd; k.everEnded && !k.jumped && since < k.w.cfg.antiFlap-time.Second {
		k.broken(ruleAntiFlap, "%s after the last one", since)
	}
	m, reach := k.w.server(cmd.Old), 0
	for _, c := range k.w.controllers {
		if lost := m.lost[c.id]; c.up && !lost.now && k.w.now()-lost.at > 4*time.Second {
			reach++
		}
	}
	if k.w.losing == 0 && reach > len(k.w.controllers)/2 {
		k.broken(ruleLiving, "%s: %v", m.key.Host, cmd.Evidence)
	}
}

// chose notes what the winner must hold: all that was received by the replicas
// which nothing kept any controller from seeing since before the claim.
func (k *checker) chose(rec ledger.Recovery) {
	k.need, k.needOf = nil, rec.ID
	k.forced = k.forced || rec.Forced
	if rec.Kind == ledger.Failover {
		k.judged(rec)
	}
	if rec.Kind != ledger.Failover || rec.Forced {
		return
	}
	old := k.w.server(rec.Old)
	for _, s := range k.w.servers {
		if s.source != old || k.w.unreachable(s) || s.disturbed > k.claimedAt-1500*time.Millisecond {
			continue
		}
		for i := range k.w.transactions {
			if s.got.has(i) {
				k.need.add(i)
			}
		}
	}
}

// judged notes what is said to be proven of the writes that were acknowledged.
func (k *checker) judged(rec ledger.Recovery) {
	proven := strings.HasPrefix(rec.Durability, "no acknowledged write is lost")
	k.unproven = k.earlier || !proven
	if proven {
		k.proven = true
		k.w.stats.proven++
	}
}

func (k *checker) closed(was, is ledger.Recovery) {
	if !was.Open() {
		return
	}
	k.w.stats.recoveries[string(is.Kind)+" "+string(is.Outcome)]++
	if is.Automatic && is.Kind == ledger.Failover && is.Announced {
		k.lastEnd, k.everEnded = k.w.now(), true
	}
	if is.Outcome != ledger.Completed {
		return
	}
	for _, p := range k.w.proxies {
		if p.running && p.leads != nil && p.leads.key != is.Winner {
			k.broken(ruleComplete, "%s leads to %s, and %s was promoted", p.name, p.leads.key.Host, is.Winner.Host)
		}
	}
}

// answered is told what an operator was told.
func (k *checker) answered(by string, err error) {
	switch {
	case refused(err):
		k.w.stats.refusals++
		if len(k.w.recoveriesBy(by)) > 0 {
			k.broken(ruleRefusal, "%s was refused (%v), and there is a recovery", by, err)
		}
	case err == nil:
		k.w.stats.switched++
	}
}
