package console_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

var kim = wire.Asker{By: "kim", Reason: "a new rack"}

func truth(b bool) *bool { return &b }

// said checks that something was done, and that the sentence has its parts.
func said(t *testing.T, d wire.Done, err error, changed bool, parts ...string) {
	t.Helper()
	if err != nil || d.Changed != changed || d.Action == "" || d.By == "" {
		t.Errorf("%v %+v", err, d)
	}
	for _, part := range parts {
		if !strings.Contains(d.Sentence, part) {
			t.Errorf("%q does not speak of %q", d.Sentence, part)
		}
	}
}

// newest is the last entry of the audit.
func (w *world) newest() ledger.AuditEntry {
	w.t.Helper()
	if len(w.state.Audit) == 0 {
		w.t.Fatal("nothing was audited")
	}
	return w.state.Audit[len(w.state.Audit)-1]
}

func TestDowntime(t *testing.T) {
	w := newWorld(t)
	c := w.console()
	two := wire.Duration(2 * time.Hour)
	d, err := c.BeginDowntime(t.Context(), wire.DowntimeRequest{Server: key("a"), Duration: two, Owner: "dba", Asker: kim})
	said(t, d, err, true, "a:3306 is in downtime until 2026-03-04T14:00:00Z (2h), owned by dba")
	if d.Cluster != "shop" || d.By != "kim" || !d.Until.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("%+v", d)
	}
	want := ledger.Downtime{Server: key("a"), Owner: "dba", Reason: "a new rack", Begun: noon, Until: noon.Add(2 * time.Hour)}
	if got := w.state.Downtimes[key("a")]; got != want {
		t.Errorf("%+v", got)
	}
	if e := w.newest(); e.Action != "begin-downtime" || e.By != "kim" || e.Reason != "a new rack" || !e.At.Equal(noon) {
		t.Errorf("%+v", e)
	}
	d, err = c.EndDowntime(t.Context(), wire.ServerRequest{Server: key("a"), Asker: kim})
	said(t, d, err, true, "has ended", "dba", "a new rack")
	d, err = c.EndDowntime(t.Context(), wire.ServerRequest{Server: key("a"), Asker: kim})
	said(t, d, err, false, "a:3306 is not in downtime")
	if _, err = c.BeginDowntime(t.Context(), wire.DowntimeRequest{Server: key("b"), Duration: two, Asker: wire.Asker{Reason: "r"}}); err != nil {
		t.Error(err)
	}
	if got := w.state.Downtimes[key("b")].Owner; got != "an operator" {
		t.Errorf("owner %q", got)
	}
}

func TestPromotionRule(t *testing.T) {
	w := newWorld(t)
	c := w.console()
	d, err := c.PromotionRule(t.Context(), wire.RuleRequest{Server: key("a"), Clear: true, Asker: kim})
	said(t, d, err, false, "no rule but the configuration's")
	d, err = c.PromotionRule(t.Context(), wire.RuleRequest{Server: key("a"), Rule: "must_not", For: wire.Duration(time.Hour), Asker: kim})
	said(t, d, err, true, "a:3306 is must_not until 2026-03-04T13:00:00Z (1h)")
	if r := w.state.Rules[key("a")]; r.Rule != "must_not" || r.By != "kim" || !r.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", r)
	}
	if e := w.newest(); e.Reason != "a new rack" || e.By != "kim" {
		t.Errorf("%+v", e)
	}
	d, err = c.PromotionRule(t.Context(), wire.RuleRequest{Server: key("a"), Rule: "prefer", Asker: kim})
	said(t, d, err, true, "a:3306 is prefer until the rule is taken back")
	d, err = c.PromotionRule(t.Context(), wire.RuleRequest{Server: key("a"), Clear: true, Asker: kim})
	said(t, d, err, true, "the rule prefer of a:3306 is taken back")
	if len(w.state.Rules) != 0 {
		t.Errorf("%+v", w.state.Rules)
	}
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t)
	c := w.console()
	ask := func(cluster string) wire.PauseRequest { return wire.PauseRequest{Cluster: cluster, Asker: kim} }
	d, err := c.Resume(t.Context(), wire.ResumeRequest(ask("shop")))
	said(t, d, err, false, "recoveries of shop were not paused")
	d, err = c.Pause(t.Context(), ask("shop"))
	said(t, d, err, true, "automatic recoveries of shop are paused")
	d, err = c.Pause(t.Context(), ask(""))
	said(t, d, err, true, "automatic recoveries of all clusters are paused")
	if p := w.state.Pauses[""]; len(w.state.Pauses) != 2 || p.By != "kim" || p.Reason != "a new rack" {
		t.Errorf("%+v", w.state.Pauses)
	}
	d, err = c.Resume(t.Context(), wire.ResumeRequest(ask("")))
	said(t, d, err, true, "all clusters are no longer paused; they were by kim: a new rack; those of shop still are")
	d, err = c.Pause(t.Context(), ask(""))
	said(t, d, err, true)
	d, err = c.Resume(t.Context(), wire.ResumeRequest(ask("shop")))
	said(t, d, err, true, "of shop are no longer paused", "those of all clusters still are, by kim", "`switchyard resume`")
	if len(w.state.Pauses) != 1 {
		t.Errorf("%+v", w.state.Pauses)
	}
}

func TestAck(t *testing.T) {
	w := newWorld(t)
	c := w.console()
	first, second := w.promote(), ""
	if second = w.claim(ledger.Switchover, noon.Add(time.Minute)); first == second {
		t.Fatal("one recovery only")
	}
	_, err := c.Ack(t.Context(), wire.AckRequest{Recovery: "shop-77", Comment: "c"})
	refused(t, err, wire.NotFound, 404)
	_, err = c.Ack(t.Context(), wire.AckRequest{Recovery: second, Comment: "c"})
	refused(t, err, wire.Conflict, 409)
	_, err = c.Ack(t.Context(), wire.AckRequest{Cluster: "other", Comment: "c"})
	refused(t, err, wire.NotFound, 404)
	w.must(ledger.CloseRecovery{Recovery: second, Outcome: ledger.Failed, At: noon.Add(time.Hour)})
	third := w.claim(ledger.Switchover, noon.Add(2*time.Hour)) // stays open

	d, err := c.Ack(t.Context(), wire.AckRequest{Cluster: "shop", Comment: "a bad disk", By: "kim"})
	said(t, d, err, true, first, second)
	if strings.Contains(d.Sentence, third) || !reflect.DeepEqual(d.Recoveries, []string{first, second}) || d.Cluster != "shop" {
		t.Errorf("%+v", d)
	}
	r, err := c.Recovery(t.Context(), first)
	if err != nil || r.Ack == nil || r.Ack.By != "kim" || r.Ack.Comment != "a bad disk" {
		t.Errorf("%v %+v", err, r.Ack)
	}
	if !w.state.Clusters["shop"].LastAutomatic.IsZero() {
		t.Error("the anti-flap window goes on")
	}
	d, err = c.Ack(t.Context(), wire.AckRequest{Cluster: "shop", Comment: "again", By: "kim"})
	said(t, d, err, false, "no recovery that waits")
	d, err = c.Ack(t.Context(), wire.AckRequest{Recovery: first, Comment: "again"})
	said(t, d, err, false, "was acknowledged before")
	w.must(ledger.CloseRecovery{Recovery: third, Outcome: ledger.Failed, At: noon.Add(3 * time.Hour)})
	d, err = c.Ack(t.Context(), wire.AckRequest{Recovery: third, Comment: "c"})
	said(t, d, err, true, third)
	if d.Cluster != "shop" {
		t.Errorf("%+v", d)
	}
}

// operations are all that operators ask for, on a server or cluster by name.
func operations(c *console.Console, server topology.Key, cluster string) map[string]func(context.Context) error {
	one := wire.ServerRequest{Server: server, Asker: kim}
	drop := func(_ any, err error) error { return err }
	return map[string]func(context.Context) error{
		"begin-downtime": func(ctx context.Context) error {
			return drop(c.BeginDowntime(ctx, wire.DowntimeRequest{Server: server, Duration: wire.Duration(time.Hour), Asker: kim}))
		},
		"end-downtime": func(ctx context.Context) error { return drop(c.EndDowntime(ctx, one)) },
		"promotion-rule": func(ctx context.Context) error {
			return drop(c.PromotionRule(ctx, wire.RuleRequest{Server: server, Rule: "must", Asker: kim}))
		},
		"pause": func(ctx context.Context) error {
			return drop(c.Pause(ctx, wire.PauseRequest{Cluster: cluster, Asker: kim}))
		},
		"resume": func(ctx context.Context) error {
			return drop(c.Resume(ctx, wire.ResumeRequest{Cluster: cluster, Asker: kim}))
		},
		"ack": func(ctx context.Context) error {
			return drop(c.Ack(ctx, wire.AckRequest{Cluster: cluster, Comment: "c"}))
		},
		"recover": func(ctx context.Context) error { return drop(c.Recover(ctx, one)) },
		"failover": func(ctx context.Context) error {
			return drop(c.Failover(ctx, wire.FailoverRequest{Cluster: cluster, Force: true, Asker: kim}))
		},
		"failover to": func(ctx context.Context) error {
			return drop(c.Failover(ctx, wire.FailoverRequest{Cluster: "shop", To: server, Force: true, Asker: kim}))
		},
		"move": func(ctx context.Context) error {
			return drop(c.Move(ctx, wire.MoveRequest{Server: server, Below: key("b"), Asker: kim}))
		},
		"move below": func(ctx context.Context) error {
			return drop(c.Move(ctx, wire.MoveRequest{Server: key("b"), Below: server, Asker: kim}))
		},
		"detach":   func(ctx context.Context) error { return drop(c.Detach(ctx, wire.DetachRequest(one))) },
		"reattach": func(ctx context.Context) error { return drop(c.Reattach(ctx, one)) },
		"set-read-only": func(ctx context.Context) error {
			return drop(c.SetReadOnly(ctx, wire.ReadOnlyRequest{Server: server, ReadOnly: truth(true), Asker: kim}))
		},
	}
}

func TestUnknownServersAndClusters(t *testing.T) {
	w := newWorld(t)
	before := w.state.LastAudit
	for name, ask := range operations(w.console(), key("nobody"), "nowhere") {
		t.Run(name, func(t *testing.T) { refused(t, ask(t.Context()), wire.NotFound, 404) })
	}
	if len(w.acted) != 0 || w.state.LastAudit != before {
		t.Errorf("something was done: %q, %+v", w.acted, w.state.Audit)
	}
}

// What the ledger or raft refuses is told as the door's error, and what cannot
// be known is not claimed.
func TestProposalsThatFail(t *testing.T) {
	other := errors.New("disk full")
	for _, c := range []struct {
		err    error
		code   wire.Code
		status int
		part   string
	}{
		{&ledger.Rejection{Command: "x", Reason: "it is odd"}, wire.Conflict, 409, "it is odd"},
		{fmt.Errorf("%w: gone", console.ErrNotLeader), wire.NotLeader, 503, "nothing was changed"},
		{fmt.Errorf("%w: %w", console.ErrUnknownOutcome, context.DeadlineExceeded), wire.Timeout, 503, "it may be done, or not"},
		{fmt.Errorf("not sent: %w", context.DeadlineExceeded), wire.Timeout, 503, "nothing was changed"},
		{other, "", 0, ""},
	} {
		w := newWorld(t)
		w.promote()
		w.must(ledger.BeginDowntime{Server: key("a"), Owner: "o", Reason: "r", At: noon, Until: noon.Add(time.Hour)})
		w.must(ledger.PauseRecoveries{Cluster: "shop", By: "o", Reason: "r", At: noon})
		w.proposing = c.err
		all := operations(w.console(), key("a"), "shop")
		for _, name := range []string{"begin-downtime", "end-downtime", "promotion-rule", "pause", "resume", "ack"} {
			err := all[name](t.Context())
			if c.code == "" {
				if !errors.Is(err, other) || errors.As(err, new(*wire.Error)) {
					t.Errorf("%s: %v: an unknown failure is for the log", name, err)
				}
				continue
			}
			if refused(t, err, c.code, c.status); err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%s: %v does not say %q", name, err, c.part)
			}
		}
	}
}

func TestLoopIsAsked(t *testing.T) {
	w := newWorld(t)
	w.recovery = ledger.Recovery{ID: "shop-2", Cluster: "shop", Forced: true, Outcome: ledger.Completed}
	c := w.console()
	one := wire.ServerRequest{Server: key("a"), Asker: kim}
	r, err := c.Recover(t.Context(), one)
	if err != nil || r.ID != "shop-2" {
		t.Errorf("%v %+v", err, r)
	}
	r, err = c.Failover(t.Context(), wire.FailoverRequest{Cluster: "shop", To: key("b"), Force: true, Asker: kim})
	if err != nil || !r.Forced {
		t.Errorf("%v %+v", err, r)
	}
	d, err := c.Move(t.Context(), wire.MoveRequest{Server: key("a"), Below: key("b"), Asker: wire.Asker{Reason: "why"}})
	said(t, d, err, true, "a:3306 replicates from b:3306 now")
	d, err = c.Detach(t.Context(), wire.DetachRequest(one))
	said(t, d, err, true, "a:3306 is detached", "`switchyard reattach a:3306`")
	d, err = c.Reattach(t.Context(), one)
	said(t, d, err, true, "attached again")
	d, err = c.SetReadOnly(t.Context(), wire.ReadOnlyRequest{Server: key("a"), ReadOnly: truth(true), Asker: kim})
	said(t, d, err, true, "a:3306 is read-only now")
	d, err = c.SetReadOnly(t.Context(), wire.ReadOnlyRequest{Server: key("a"), ReadOnly: truth(false), Asker: kim})
	said(t, d, err, true, "a:3306 accepts writes now")
	if d.Cluster != "shop" || d.Server != key("a") {
		t.Errorf("%+v", d)
	}
	want := []string{
		"recover a:3306 kim a new rack", "force shop b:3306 kim a new rack", "move a:3306 b:3306 an operator why",
		"detach a:3306 kim a new rack", "reattach a:3306 kim a new rack", "set-read-only a:3306 true kim a new rack",
		"set-read-only a:3306 false kim a new rack",
	}
	if !reflect.DeepEqual(w.acted, want) {
		t.Errorf("%q", w.acted)
	}
}

func TestMoveWithinACluster(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.AdoptMaster{Cluster: "bar", Master: key("x"), At: noon})
	_, err := w.console().Move(t.Context(), wire.MoveRequest{Server: key("a"), Below: key("x")})
	refused(t, err, wire.Refused, 409)
	_, err = w.console().Move(t.Context(), wire.MoveRequest{Server: key("a"), Below: key("a")})
	refused(t, err, wire.Refused, 409)
	if len(w.acted) != 0 {
		t.Errorf("%q", w.acted)
	}
}

func TestLoopRefusesOrFails(t *testing.T) {
	acts := []string{"recover", "failover", "move", "detach", "reattach", "set-read-only"}
	for _, c := range []struct {
		err    error
		code   wire.Code
		status int
	}{
		{&failover.Refusal{Reason: "it lags"}, wire.Refused, 409},
		{failover.ErrNoCluster, wire.NotFound, 404},
		{fmt.Errorf("set-detached: %w", &ledger.Rejection{Command: "x", Reason: "odd"}), wire.Conflict, 409},
		{fmt.Errorf("repoint: %w", executor.ErrDeposed), wire.NotLeader, 503},
		{fmt.Errorf("it goes on: %w", context.DeadlineExceeded), wire.Timeout, 503},
	} {
		w := newWorld(t)
		w.acting = c.err
		all := operations(w.console(), key("a"), "shop")
		for _, name := range acts {
			refused(t, all[name](t.Context()), c.code, c.status)
		}
	}
	// What a server said is told to who asked for a change of that server.
	w := newWorld(t)
	w.acting = errors.New("a:3306: error 1227: access denied")
	err := operations(w.console(), key("a"), "shop")["detach"](t.Context())
	if refused(t, err, wire.Failed, 502); !strings.Contains(err.Error(), "detach of a:3306: a:3306: error 1227") {
		t.Error(err)
	}
}

// A recovery that began and failed is named, with what is known.
func TestRecoveryThatFailed(t *testing.T) {
	w := newWorld(t)
	w.recovery, w.acting = ledger.Recovery{ID: "shop-2"}, errors.New("promote b: disk full")
	all := operations(w.console(), key("a"), "shop")
	for _, name := range []string{"recover", "failover"} {
		err := all[name](t.Context())
		if refused(t, err, wire.Failed, 502); !strings.Contains(err.Error(), "recovery shop-2: promote b: disk full; see `switchyard recoveries shop-2`") {
			t.Error(err)
		}
	}
	w.recovery = ledger.Recovery{} // it had not begun, and the reason is for the log
	if err := all["recover"](t.Context()); err == nil || errors.As(err, new(*wire.Error)) {
		t.Error(err)
	}
}

// A failover by hand that is not forced explains, and does nothing.
func TestFailoverMustBeForced(t *testing.T) {
	w := newWorld(t)
	w.judged(deadMaster)
	_, err := w.console().Failover(t.Context(), wire.FailoverRequest{Cluster: "shop"})
	refused(t, err, wire.Refused, 409)
	for _, part := range []string{"must be forced", "the leader acts", "promote a:3306", "`switchyard recover m:3306`", "--force"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not speak of %q", err, part)
		}
	}
	w.explainErr = failover.ErrNoCluster
	_, err = w.console().Failover(t.Context(), wire.FailoverRequest{Cluster: "shop"})
	refused(t, err, wire.NotFound, 404)
	if len(w.acted) != 0 {
		t.Errorf("%q", w.acted)
	}
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		e := ledger.AuditEntry{
			At: noon.Add(time.Duration(i-5) * time.Hour), Kind: ledger.AuditDetection, Cluster: "shop", Server: key("m"), Action: "DeadMaster", By: "c1",
		}
		if i%2 == 1 {
			e.Kind, e.Server, e.Cluster = ledger.AuditHook, key("a"), ""
		}
		w.must(ledger.AppendAudit{Entries: []ledger.AuditEntry{e}})
	}
	for name, c := range map[string]struct {
		query wire.AuditQuery
		want  []uint64
		next  uint64
	}{
		"all":     {wire.AuditQuery{Limit: 100}, []uint64{5, 4, 3, 2, 1}, 0},
		"exactly": {wire.AuditQuery{Limit: 5}, []uint64{5, 4, 3, 2, 1}, 0},
		"page":    {wire.AuditQuery{Limit: 2}, []uint64{5, 4}, 4},
		"next":    {wire.AuditQuery{Limit: 2, Before: 4}, []uint64{3, 2}, 2},
		"last":    {wire.AuditQuery{Limit: 2, Before: 2}, []uint64{1}, 0},
		"cluster": {wire.AuditQuery{Limit: 100, Cluster: "shop"}, []uint64{5, 3, 1}, 0},
		"server":  {wire.AuditQuery{Limit: 100, Server: key("a")}, []uint64{4, 2}, 0},
		"kind":    {wire.AuditQuery{Limit: 100, Kind: ledger.AuditHook}, []uint64{4, 2}, 0},
		"since":   {wire.AuditQuery{Limit: 100, Since: noon.Add(-2 * time.Hour)}, []uint64{5, 4}, 0},
		"ago":     {wire.AuditQuery{Limit: 100, Ago: wire.Duration(2 * time.Hour)}, []uint64{5, 4}, 0},
		"nothing": {wire.AuditQuery{Limit: 100, Cluster: "shop", Server: key("a")}, []uint64{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := w.console().Audit(t.Context(), c.query)
			ids := []uint64{}
			for _, e := range a.Entries {
				ids = append(ids, e.ID)
			}
			if err != nil || a.Entries == nil || !reflect.DeepEqual(ids, c.want) || a.Next != c.next {
				t.Errorf("%v: %v next %d, want %v next %d", err, ids, a.Next, c.want, c.next)
			}
		})
	}
}
