package matrix

import (
	"strings"
	"testing"
	"time"
)

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

// orderly is a planned change from server 1 to server 2 as it should be, with one client of each kind that counts.
func orderly() Evidence {
	ha, ps := Door{Name: "ha1", Proxy: HAProxy}, Door{Name: "ps1", Proxy: ProxySQL}
	e := Evidence{
		Clients: []Client{{1, ha, Brisk}, {2, ps, Brisk}, {3, ps, Pinned}, {4, ha, Reconnecting}},
		Change:  Change{Old: 1, New: 2, Planned: true, Begun: at(100), Withdrawn: at(200), Promoting: at(300), Writable: at(310)},
	}
	for client := int64(1); client <= 4; client++ {
		e.add(client, 1, 50, true, 1, 51, 1, 2)
		e.add(client, 2, 400, true, 2, 401, 1, 2)
	}
	e.Failures = []Failure{{Client: 1, At: at(201), Stage: Open, Text: "cut"}, {Client: 3, At: at(201), Stage: Open, Text: "cut"}}
	return e
}

// add is a write that one server executed, and the servers that have it.
func (e *Evidence) add(client, seq int64, sent int, acked bool, by uint32, executed int, on ...uint32) {
	token := Token{client, seq}
	e.Writes = append(e.Writes, Write{Token: token, Sent: at(sent), Ended: at(executed + 1), Acked: acked})
	for _, server := range on {
		e.Executions = append(e.Executions, Execution{Token: token, On: server, By: by, At: at(executed)})
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*Evidence)
		want  string // a part of the only violation; empty means none
	}{
		{"orderly", func(*Evidence) {}, ""},
		{"the last of the old master", func(e *Evidence) { e.add(1, 3, 199, true, 1, 250, 1, 2) }, ""},
		{"not acknowledged, not executed", func(e *Evidence) { e.add(1, 3, 199, false, 1, 200) }, ""},
		{"not acknowledged, executed once", func(e *Evidence) { e.add(1, 3, 199, false, 1, 200, 1, 2) }, ""},
		{"sent to the old master after the withdrawal", func(e *Evidence) { e.add(1, 3, 201, false, 1, 250, 1, 2) },
			"the old master executed: {1 3} was sent"},
		{"acknowledged by the old master after the promotion", func(e *Evidence) { e.add(1, 3, 199, true, 1, 301, 1, 2) },
			"the old master acknowledged: {1 3}"},
		{"executed by the old master of a planned change", func(e *Evidence) { e.add(1, 3, 199, false, 1, 301, 1) },
			"executed 1 writes after the promotion of a planned"},
		{"executed late by a master out of reach", func(e *Evidence) { e.Change.Planned = false; e.add(1, 3, 199, false, 1, 301, 1) }, ""},
		{"two rows on one server", func(e *Evidence) { e.add(1, 3, 150, true, 1, 151, 1, 2, 2) }, "{1 3} has two rows on server 2"},
		{"executed by both", func(e *Evidence) {
			e.add(1, 3, 150, true, 1, 151, 1)
			e.Executions = append(e.Executions, Execution{Token: Token{1, 3}, On: 2, By: 2, At: at(400)})
		}, "was executed by server 1 at 00:00:00.151000 and by server 2"},
		{"lost in a planned change", func(e *Evidence) { e.add(1, 3, 150, true, 1, 151, 1) }, "acknowledged and lost: {1 3}"},
		{"lost in a crash", func(e *Evidence) { e.Change.Planned = false; e.add(1, 3, 150, true, 1, 151, 1) }, ""},
		{"lost after a crash", func(e *Evidence) { e.Change.Planned = false; e.add(1, 3, 400, true, 2, 401) }, "acknowledged and lost: {1 3}"},
		{"refused", func(e *Evidence) { e.fail(4, Refused) }, "client 4 (reconnecting, ha1) was refused"},
		{"cut while connecting", func(e *Evidence) { e.fail(4, Greeting) }, ""},
		{"two errors for one", func(e *Evidence) { e.fail(1, Greeting) }, "client 1 (brisk, ha1) saw 2 errors"},
		{"an error for who should see none", func(e *Evidence) { e.fail(2, Open) }, "client 2 (brisk, ps1) saw 1 errors, want 0 to 0"},
		{"no error for who is tied", func(e *Evidence) { e.Failures = e.Failures[:1] }, "client 3 (pinned, ps1) saw 0 errors, want 1 to 1"},
		{"errors of a crash", func(e *Evidence) { e.Change.Planned = false; e.fail(2, Refused) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := orderly()
			test.spoil(&e)
			v := Judge(e)
			if test.want == "" {
				if len(v.Violations) > 0 {
					t.Errorf("violations %q, want none", v.Violations)
				}
				return
			}
			if len(v.Violations) != 1 || !strings.Contains(v.Violations[0], test.want) {
				t.Errorf("violations %q, want one that says %q", v.Violations, test.want)
			}
		})
	}
}

func (e *Evidence) fail(client int64, stage Stage) {
	e.Failures = append(e.Failures, Failure{Client: client, At: at(202), Stage: stage, Text: "told"})
}

func TestFigures(t *testing.T) {
	e := orderly()
	e.Change.Planned = false
	e.add(1, 3, 500, false, 2, 501)
	e.add(2, 3, 150, true, 1, 151, 1)
	e.add(2, 4, 199, false, 1, 305, 1)
	e.fail(2, Greeting)
	v := Judge(e)
	if v.Acked != 9 || v.Lost != 1 || v.Late != 1 {
		t.Errorf("%d acknowledged, %d lost, %d late, want 9, 1, 1", v.Acked, v.Lost, v.Late)
	}
	if v.GapMS[HAProxy] != 350 || v.GapMS[ProxySQL] != 250 {
		t.Errorf("gaps %v, want 350 and 250 ms", v.GapMS)
	}
	if v.Errors[HAProxy][Brisk] != 1 || v.Errors[ProxySQL][Brisk] != 1 || v.Greeting[ProxySQL] != 1 || v.Refused[ProxySQL] != 0 {
		t.Errorf("errors %v, refused %v, ended in greeting %v", v.Errors, v.Refused, v.Greeting)
	}
}

// What many see is told of a few.
func TestManyViolationsAreCut(t *testing.T) {
	e := orderly()
	for seq := int64(10); seq < 30; seq++ {
		e.add(1, seq, 150, true, 1, 151, 1)
	}
	if v := Judge(e); len(v.Violations) != maxTold+1 || !strings.Contains(v.Violations[maxTold], "and 15 more") {
		t.Errorf("%d violations: %q", len(v.Violations), v.Violations)
	}
}
