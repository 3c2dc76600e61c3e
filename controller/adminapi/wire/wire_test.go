package wire_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

func set(t *testing.T, text string) gtid.Set {
	t.Helper()
	s, err := gtid.ParseMariaDB(2, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"main", "Shop-EU_1.prod", strings.Repeat("x", wire.MaxName)} {
		if err := wire.CheckName("cluster", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, part := range map[string]string{
		"": "empty", "a b": "' '", "a/b": "'/'", ".": "letter", "..": "letter", "é": "'é'", "a\x00": `'\x00'`,
		strings.Repeat("x", 300): "300 bytes", "a\xff": "�",
	} {
		err := wire.CheckName("cluster", name)
		if err == nil || !strings.Contains(err.Error(), "cluster") || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want it to speak of %s", name, err, part)
		}
	}
}

func TestEveryCodeHasAnErrorStatus(t *testing.T) {
	want := map[wire.Code]int{
		wire.BadRequest: 400, wire.Unauthorized: 401, wire.TooManyLogins: 429, wire.Forbidden: 403, wire.NotFound: 404, wire.MethodNotAllowed: 405,
		wire.RequestTimeout: 408, wire.Conflict: 409, wire.Refused: 409, wire.TooLarge: 413, wire.Internal: 500,
		wire.NotLeader: 503, wire.NoLeader: 503, wire.LeaderUnreachable: 503, wire.Busy: 503,
		wire.Unavailable: 503, wire.Timeout: 503, wire.Failed: 502, "unheard of": 500,
	}
	for code, status := range want {
		if got := code.Status(); got != status {
			t.Errorf("%s: %d, want %d", code, got, status)
		}
	}
	source, err := os.ReadFile("error.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\t\w+ +Code = "(\w+)"$`).FindAllStringSubmatch(string(source), -1)
	if len(declared) != len(want)-1 {
		t.Errorf("%d codes are declared, and %d are tested", len(declared), len(want)-1)
	}
	for _, d := range declared {
		if !slices.Contains(wire.Codes(), wire.Code(d[1])) {
			t.Errorf("%s is not among Codes", d[1])
		}
	}
}

// No two different calls have the same signature, however their parts are cut.
func TestSignaturesTellCallsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[ab]{0,2}`)
		type signed struct{ secret, method, path, nonce, body string }
		draw := func(name string) signed {
			return signed{
				part.Draw(t, name+" secret") + "s", part.Draw(t, name+" method"), part.Draw(t, name+" path"),
				part.Draw(t, name+" nonce"), part.Draw(t, name+" body"),
			}
		}
		sign := func(s signed) string { return wire.SignRequest(s.secret, s.method, s.path, s.nonce, []byte(s.body)) }
		a, b := draw("a"), draw("b")
		if same := wire.VerifySignature(a.secret, sign(a), sign(b)); same != (a == b) {
			t.Fatalf("%+v and %+v: same signature %v", a, b, same)
		}
		if wire.VerifySignature(a.secret, sign(a), wire.SignReply(a.secret, a.nonce, 200, []byte(a.body))) {
			t.Fatal("a reply passes for a request")
		}
	})
	if s := wire.SignRequest("", "GET", "/", "n", nil); wire.VerifySignature("", s, s) {
		t.Error("an empty secret verifies")
	}
}

func TestNewRecoveryCarriesTheLedgers(t *testing.T) {
	begun := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	old, winner := topology.Key{Host: "db1", Port: 3306}, topology.Key{Host: "db2", Port: 3306}
	l := ledger.Recovery{
		ID: "main-2", Cluster: "main", Kind: ledger.Failover, Finding: "DeadMaster", Evidence: []string{"refused"},
		Automatic: true, By: "x", Old: old, OldProvenDead: true,
		EpochBefore: routes.Epoch{Generation: 1, Number: 1}, Epoch: routes.Epoch{Generation: 1, Number: 2},
		Winner: winner, WinnerReason: "most", Announced: true, Undoing: true, Leader: "c1",
		StartedAt: begun, EndedAt: at(140), Outcome: ledger.Completed, Message: "m", Lost: []topology.Key{old},
		Steps: []ledger.Step{{
			Name: "promote", Subject: winner, Leader: "c1", StartedAt: at(60), EndedAt: begun.Add(72500 * time.Microsecond),
			Outcome: ledger.StepDone, Note: "writable",
		}},
	}
	got := wire.NewRecovery(l, map[string]float64{"promote": 12.5})
	want := wire.Recovery{
		ID: l.ID, Cluster: l.Cluster, Kind: l.Kind, Finding: l.Finding, Evidence: l.Evidence, Automatic: true, By: "x",
		Old: old, OldDead: true, EpochBefore: l.EpochBefore, Epoch: l.Epoch, Winner: winner, WinnerReason: "most",
		Announced: true, Undoing: true, Leader: "c1", StartedAt: begun, EndedAt: at(140), DurationMS: 140,
		Outcome: ledger.Completed, Message: "m", Lost: l.Lost, Phases: map[string]float64{"promote": 12.5},
		Steps: []wire.Step{{
			Name: "promote", Subject: winner, Leader: "c1", StartedAt: at(60), EndedAt: l.Steps[0].EndedAt,
			OffsetMS: 60, DurationMS: 12.5, Outcome: ledger.StepDone, Note: "writable",
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if wire.NewRecovery(ledger.Recovery{StartedAt: begun}, nil).DurationMS != 0 {
		t.Error("an open recovery has a duration")
	}
}

// What a witness says must arrive as it was said.
func TestViewCrossesTheWire(t *testing.T) {
	lag := 1500 * time.Millisecond
	now := time.Date(2025, 3, 1, 12, 0, 0, 123456789, time.UTC)
	master, replica := topology.Key{Host: "db1", Port: 3306}, topology.Key{Host: "fe80::1", Port: 3307}
	view := topology.View{Observer: "c1", At: now, Observations: map[topology.Key]topology.Observation{
		master: {
			Key: master, Reach: topology.ReachRefused, Error: "connection refused", Begun: now, Ended: now, Fresh: true,
			Tripwire: topology.TripEnd{Kind: topology.TripBroken, At: now, Error: "reset"},
		},
		replica: {
			Key: replica, Reach: topology.ReachOK, Begun: now, Ended: now, Stalled: time.Second,
			Instance: &topology.Instance{
				Key: replica, Flavor: gtid.MariaDB, Version: "10.11.6-MariaDB", ServerID: 2, ReadOnly: true, GTIDMode: true,
				Executed: set(t, "0-1-306"), Uptime: time.Hour,
				Replication: &topology.Replication{
					Source: master, IO: topology.ThreadConnecting, SQL: topology.ThreadRunning, IOErrno: 2003,
					Received: set(t, "0-1-308"), Heartbeat: "17", Lag: &lag,
				},
				SemiSync: topology.SemiSync{Available: true, ReplicaOn: true},
				Replicas: []topology.Key{master},
			},
		},
	}}
	body, err := json.Marshal(wire.WitnessReply{Witness: "c1", Boot: "b", View: view})
	if err != nil {
		t.Fatal(err)
	}
	var back wire.WitnessReply
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	got, want := back.View.Observations[replica].Instance, view.Observations[replica].Instance
	if !got.Executed.Equal(want.Executed) || !got.Replication.Received.Equal(want.Replication.Received) {
		t.Errorf("GTID sets: got %s and %s", got.Executed, got.Replication.Received)
	}
	// Compared as JSON again: a set may be held in more than one way.
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(body) {
		t.Errorf("%v\ngot  %s\nwant %s", err, again, body)
	}
	if o := back.View.Observations[master]; !reflect.DeepEqual(o, view.Observations[master]) {
		t.Errorf("got %+v, want %+v", o, view.Observations[master])
	}
}
