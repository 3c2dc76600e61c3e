package ctl_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/store/ledger"
)

// operated is a controller that records what it is asked, and answers it all.
type operated struct {
	*controller
	asked   []any
	refuse  error
	outcome ledger.Outcome
	queries []wire.AuditQuery
	entries []ledger.AuditEntry
}

func (o *operated) done(request any) (wire.Done, error) {
	o.asked = append(o.asked, request)
	return wire.Done{Action: "it", By: "kim", Changed: true, Sentence: "it is done"}, o.refuse
}

func (o *operated) recovered(request any) (wire.Recovery, error) {
	o.asked = append(o.asked, request)
	return wire.Recovery{ID: "shop-9", Kind: ledger.Failover, Outcome: o.outcome, Message: "db2 hung"}, o.refuse
}

func (o *operated) BeginDowntime(_ context.Context, r wire.DowntimeRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) EndDowntime(_ context.Context, r wire.ServerRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) PromotionRule(_ context.Context, r wire.RuleRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) Pause(_ context.Context, r wire.PauseRequest) (wire.Done, error) { return o.done(r) }
func (o *operated) Resume(_ context.Context, r wire.ResumeRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) DatacenterDown(_ context.Context, r wire.DatacenterDownRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) DatacenterUp(_ context.Context, r wire.DatacenterUpRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) Ack(_ context.Context, r wire.AckRequest) (wire.Done, error)   { return o.done(r) }
func (o *operated) Move(_ context.Context, r wire.MoveRequest) (wire.Done, error) { return o.done(r) }
func (o *operated) Detach(_ context.Context, r wire.DetachRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) Reattach(_ context.Context, r wire.ServerRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) SetReadOnly(_ context.Context, r wire.ReadOnlyRequest) (wire.Done, error) {
	return o.done(r)
}
func (o *operated) Recover(_ context.Context, r wire.ServerRequest) (wire.Recovery, error) {
	return o.recovered(r)
}
func (o *operated) Failover(_ context.Context, r wire.FailoverRequest) (wire.Recovery, error) {
	return o.recovered(r)
}

func (o *operated) ChangeControllers(_ context.Context, r wire.ControllersRequest) (wire.Done, error) {
	return o.done(r)
}

func (o *operated) TransferLeader(_ context.Context, r wire.TransferRequest) (wire.Done, error) {
	return o.done(r)
}

func (o *operated) Audit(_ context.Context, q wire.AuditQuery) (wire.Audit, error) {
	o.queries = append(o.queries, q)
	var page wire.Audit
	for _, e := range o.entries {
		if q.Before != 0 && e.ID >= q.Before {
			continue
		}
		if len(page.Entries) == q.Limit {
			page.Next = page.Entries[len(page.Entries)-1].ID
			break
		}
		page.Entries = append(page.Entries, e)
	}
	return page, o.refuse
}

func operate(t *testing.T) (*operated, map[string]string) {
	t.Helper()
	o := &operated{controller: &controller{id: "c1", leader: "c1"}, outcome: ledger.Completed}
	return o, map[string]string{ctl.Environment: start(t, o, nil)}
}

// words splits a command line; underscores stand for spaces within a word.
func words(line string) []string {
	parts := strings.Fields(line)
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "_", " ")
	}
	return parts
}

func truth(b bool) *bool { return &b }

func TestOperationsAreAsked(t *testing.T) {
	o, env := operate(t)
	db := key("db1.eu:3306")
	kim, why := wire.Asker{By: "kim@desk"}, wire.Asker{By: "kim@desk", Reason: "a new rack"}
	hours := func(n int) wire.Duration { return wire.Duration(time.Duration(n) * time.Hour) }
	for line, want := range map[string]any{
		"begin-downtime db1.eu --duration 2h30m --reason a_new_rack": wire.DowntimeRequest{
			Server: db, Duration: wire.Duration(150 * time.Minute), Asker: why,
		},
		"begin-downtime db1.eu:3306 --duration 3d --reason a_new_rack --owner dba --by lee": wire.DowntimeRequest{
			Server: db, Duration: hours(72), Owner: "dba", Asker: wire.Asker{By: "lee", Reason: "a new rack"},
		},
		"end-downtime db1.eu":                               wire.ServerRequest{Server: db, Asker: kim},
		"end-downtime db1.eu --reason a_new_rack":           wire.ServerRequest{Server: db, Asker: why},
		"promotion-rule db1.eu prefer --for 2w":             wire.RuleRequest{Server: db, Rule: "prefer", For: hours(336), Asker: kim},
		"promotion-rule db1.eu must --reason a_new_rack":    wire.RuleRequest{Server: db, Rule: "must", Asker: why},
		"promotion-rule db1.eu --clear":                     wire.RuleRequest{Server: db, Clear: true, Asker: kim},
		"pause --reason a_new_rack":                         wire.PauseRequest{Asker: why},
		"pause shop --reason a_new_rack":                    wire.PauseRequest{Cluster: "shop", Asker: why},
		"datacenters down dc2 --for 2h --reason a_new_rack": wire.DatacenterDownRequest{DataCenter: "dc2", Duration: hours(2), Asker: why},
		"datacenters up dc2":                                wire.DatacenterUpRequest{DataCenter: "dc2", Asker: kim},
		"resume":                                            wire.ResumeRequest{Asker: kim},
		"resume shop --reason a_new_rack":                   wire.ResumeRequest{Cluster: "shop", Asker: why},
		"ack shop-5 --comment a_bad_disk":                   wire.AckRequest{Recovery: "shop-5", Comment: "a bad disk", By: "kim@desk"},
		"ack --cluster shop --comment a_bad_disk --by lee":  wire.AckRequest{Cluster: "shop", Comment: "a bad disk", By: "lee"},
		"move db1.eu --below db2.eu":                        wire.MoveRequest{Server: db, Below: key("db2.eu:3306"), Asker: kim},
		"detach db1.eu --reason a_new_rack":                 wire.DetachRequest{Server: db, Asker: why},
		"reattach db1.eu":                                   wire.ServerRequest{Server: db, Asker: kim},
		"set-read-only db1.eu --reason a_new_rack":          wire.ReadOnlyRequest{Server: db, ReadOnly: truth(true), Asker: why},
		"set-read-only db1.eu --off --reason a_new_rack":    wire.ReadOnlyRequest{Server: db, ReadOnly: truth(false), Asker: why},
		"controllers add c4 --raft c4:7401 --http http://c4:7400 --dc dc2 --reason a_new_rack": wire.ControllersRequest{
			Change: "add", ID: "c4", Raft: "c4:7401", API: "http://c4:7400", DataCenter: "dc2", Asker: why,
		},
		"controllers add c4 --raft c4:7401 --http http://c4:7400 --non-voter": wire.ControllersRequest{
			Change: "add", ID: "c4", Raft: "c4:7401", API: "http://c4:7400", Nonvoter: true, Asker: kim,
		},
		"controllers move c4 --raft c5:7401 --http http://c5:7400": wire.ControllersRequest{
			Change: "move", ID: "c4", Raft: "c5:7401", API: "http://c5:7400", Asker: kim,
		},
		"controllers remove c4":       wire.ControllersRequest{Change: "remove", ID: "c4", Asker: kim},
		"controllers transfer-leader": wire.TransferRequest{Asker: kim},
		"controllers transfer-leader c2 --reason a_new_rack --force": wire.TransferRequest{
			To: "c2", Force: true, Asker: why,
		},
		"adopt shop --master db1.eu --reason a_new_rack": wire.AdoptRequest{Cluster: "shop", Master: db, Asker: why},
		"recover db1.eu": wire.ServerRequest{Server: db, Asker: kim},
		"failover shop":  wire.FailoverRequest{Cluster: "shop", Asker: kim},
		"failover shop --force --to db1.eu --reason a_new_rack": wire.FailoverRequest{
			Cluster: "shop", To: db, Force: true, Asker: why,
		},
	} {
		t.Run(line, func(t *testing.T) {
			o.asked = nil
			out, err := call(t.Context(), env, words(line)...)
			if err != nil || len(o.asked) != 1 || !reflect.DeepEqual(o.asked[0], want) {
				t.Fatalf("%v: the controller was asked %+v, want %+v", err, o.asked, want)
			}
			if !strings.Contains(out, "it is done\n") && !strings.Contains(out, "shop-9") {
				t.Errorf("printed %q", out)
			}
			out, err = call(t.Context(), env, append(words(line), "--format", "json")...)
			var answer map[string]any
			if err != nil || json.Unmarshal([]byte(out), &answer) != nil || answer["id"] == nil && answer["sentence"] != "it is done" {
				t.Errorf("%v: %s", err, out)
			}
			o.refuse = wire.NewError(wire.Refused, "it lags", "wait")
			defer func() { o.refuse = nil }()
			if _, err = call(t.Context(), env, words(line)...); err == nil || err.Error() != "it lags; wait" {
				t.Errorf("refused as %v", err)
			}
		})
	}
	o.asked = nil
	if _, err := call(t.Context(), env, "promotion-rule", "db1.eu", "must_not"); err != nil || len(o.asked) != 1 ||
		o.asked[0].(wire.RuleRequest).Rule != "must_not" {
		t.Errorf("%v %+v", err, o.asked)
	}
}

// A recovery that did not complete is a failure of the command that asked for it.
func TestRecoveryThatFailsFailsTheCommand(t *testing.T) {
	o, env := operate(t)
	o.outcome = ledger.Failed
	for _, line := range []string{"recover db1.eu", "failover shop --force --reason r"} {
		out, err := call(t.Context(), env, words(line)...)
		if err == nil || !strings.Contains(err.Error(), "failover shop-9: failed: db2 hung") || !strings.Contains(out, "shop-9") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// What is missing or wrong is said before anything is asked.
func TestMistakesInOperations(t *testing.T) {
	o, env := operate(t)
	for line, part := range map[string]string{
		"begin-downtime": "INSTANCE is missing",
		"begin-downtime a/b --duration 2h --reason r":          `instance "a/b"`,
		"begin-downtime db1 --reason r":                        "--duration is missing: want a length of time such as",
		"begin-downtime db1 --duration 2h":                     "--reason is missing: say why",
		"begin-downtime db1 --duration soon --reason r":        `--duration: "soon"`,
		"begin-downtime db1 --duration -1h --reason r":         "--duration",
		"begin-downtime db1 --duration= --reason r":            "--duration is empty",
		"begin-downtime db1 --duration 2h --reason=":           "--reason is empty",
		"begin-downtime db1 --duration 2h --reason r --owner=": "--owner is empty",
		"adopt shop --reason r":                                "--master is missing",
		"adopt shop --master db1":                              "--reason is missing",
		"adopt shop --master a/b --reason r":                   "--master",
		"backup":                                               "--out is missing",
		"end-downtime":                                         "INSTANCE is missing",
		"end-downtime db1 db2":                                 `"db2" is not known here`,
		"promotion-rule db1":                                   "RULE is missing",
		"promotion-rule db1 always":                            "want must, prefer, neutral, prefer_not or must_not",
		"promotion-rule db1 must --for=":                       "--for is empty",
		"promotion-rule db1 must --for never":                  "--for",
		"promotion-rule db1 must --clear":                      "--clear takes a rule back",
		"promotion-rule db1 --clear --for 2h":                  "--clear takes a rule back",
		"datacenters down dc2 --reason r":                      "--for is missing",
		"datacenters down dc2 --for 2h":                        "--reason is missing",
		"datacenters down --for 2h --reason r":                 "DATACENTER",
		"datacenters down dc2 --for soon --reason r":           "--for",
		"datacenters up":                                       "DATACENTER",
		"pause shop":                                           "--reason is missing",
		"pause":                                                "--reason is missing",
		"pause a/b --reason r":                                 `cluster "a/b"`,
		"resume a/b":                                           `cluster "a/b"`,
		"controllers evict":                                    `"evict" is not known here`,
		"controllers add c4 --http http://c4:7400":             "--raft is missing",
		"controllers add c4 --raft c4:7401":                    "--http is missing",
		"controllers add":                                      "ID is missing",
		"controllers remove a/b":                               `controller "a/b"`,
		"controllers transfer-leader a/b":                      `controller "a/b"`,
		"controllers transfer-leader c2 c3":                    `"c3" is not known here`,
		"ack":                                                  "RECOVERY is missing",
		"ack shop-5":                                           "--comment is missing",
		"ack shop-5 --cluster shop --comment c":                "leave it or RECOVERY away",
		"ack a/b --comment c":                                  `recovery "a/b"`,
		"ack --cluster= --comment c":                           "--cluster is empty",
		"move db1":                                             "--below is missing",
		"move db1 --below a/b":                                 "--below",
		"detach db1":                                           "--reason is missing",
		"reattach":                                             "INSTANCE is missing",
		"set-read-only db1":                                    "--reason is missing",
		"set-read-only db1 --by= --reason r":                   "--by is empty",
		"recover a/b":                                          `instance "a/b"`,
		"failover shop --force":                                "--reason is missing",
		"failover a/b":                                         `cluster "a/b"`,
		"failover shop --force --reason r --to a/b":            "--to",
		"audit --kind gossip":                                  "want one of detection, recovery, operator, repair, hook",
		"audit --since yesterday":                              "--since",
		"audit --since -2h":                                    "--since",
		"audit --since=":                                       "--since is empty",
		"audit --server a/b":                                   "--server",
		"audit --cluster a/b":                                  "--cluster",
		"audit --limit -1":                                     "--limit -1",
		"audit --format yaml":                                  "--format",
		"status --format jsonl":                                "audit only",
	} {
		_, err := call(t.Context(), env, strings.Fields(line)...)
		var usage *ctl.UsageError
		if !errors.As(err, &usage) || usage.ExitCode() != 2 || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want a usage error with %q", line, err, part)
		}
	}
	if len(o.asked)+len(o.queries) != 0 {
		t.Errorf("the controller was asked %+v %+v", o.asked, o.queries)
	}
}

func TestUnacknowledged(t *testing.T) {
	url := start(t, &acked{controller: &controller{id: "c1", leader: "c1"}}, nil)
	out, err := call(t.Context(), nil, "recoveries", "--unacknowledged", "--api", url)
	if err != nil || !strings.Contains(out, "shop-r2") || strings.Contains(out, "shop-8") || strings.Contains(out, "shop-9") {
		t.Errorf("%v\n%s", err, out)
	}
	_, err = call(t.Context(), nil, "recoveries", "shop-8", "--unacknowledged", "--api", url)
	if usage := (*ctl.UsageError)(nil); !errors.As(err, &usage) {
		t.Errorf("%v", err)
	}
}

// acked has three recoveries: acknowledged, not so, and open.
type acked struct{ *controller }

func (a *acked) Recoveries(context.Context, string) ([]wire.Recovery, error) {
	return []wire.Recovery{forced(), relocated(), {ID: "shop-9"}}, nil
}

func TestAuditCommand(t *testing.T) {
	o, env := operate(t)
	o.entries = audited()
	out, err := call(t.Context(), env, words("audit --cluster shop --server db1.eu --kind hook --since 3d")...)
	want := []wire.AuditQuery{{
		Cluster: "shop", Server: key("db1.eu:3306"), Kind: ledger.AuditHook, Ago: wire.Duration(72 * time.Hour), Limit: 50,
	}}
	if err != nil || out != ctl.Audit(o.entries) || !reflect.DeepEqual(o.queries, want) {
		t.Errorf("%v\n%s\nasked %+v", err, out, o.queries)
	}
	out, err = call(t.Context(), env, "audit", "--format", "json", "--limit", "2")
	var list []ledger.AuditEntry
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || !reflect.DeepEqual(list, o.entries[:2]) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = call(t.Context(), env, "audit", "--format", "jsonl")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err != nil || len(lines) != len(o.entries) {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, line := range lines {
		var e ledger.AuditEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil || !reflect.DeepEqual(e, o.entries[i]) {
			t.Errorf("%v: %s", err, line)
		}
	}
	o.entries = nil
	for format, want := range map[string]string{"text": "the audit has no such entry\n", "json": "[]\n", "jsonl": ""} {
		if out, err = call(t.Context(), env, "audit", "--format", format); err != nil || out != want {
			t.Errorf("%s: %v %q", format, err, out)
		}
	}
}

// All that is kept comes page by page, each entry once.
func TestAuditExportPages(t *testing.T) {
	o, env := operate(t)
	for id := uint64(2*wire.MaxAudit + 7); id > 0; id-- {
		o.entries = append(o.entries, ledger.AuditEntry{ID: id, Kind: ledger.AuditRepair, By: "c1", At: at(int(id))})
	}
	for limit, want := range map[string]int{"0": len(o.entries), "1500": 1500, "1000": 1000, "2000": 2000, "9999": len(o.entries)} {
		out, err := call(t.Context(), env, "audit", "--format", "json", "--limit", limit)
		var list []ledger.AuditEntry
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || !reflect.DeepEqual(list, o.entries[:want]) {
			t.Errorf("--limit %s: %v: %d entries, want %d", limit, err, len(list), want)
		}
	}
}

func (o *operated) Adopt(_ context.Context, r wire.AdoptRequest) (wire.Done, error) {
	return o.done(r)
}
