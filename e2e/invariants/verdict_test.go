package invariants

import (
	"errors"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/workload"
)

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

func write(server uint32, ms int) workload.Write {
	return workload.Write{Server: server, Seq: int64(ms), Begin: at(ms - 1), Ack: at(ms)}
}

func seen(target string, server uint32, ms int, writable bool) Sample {
	return Sample{Target: target, Proxy: target == "proxy", ServerID: server, Writable: writable, Begin: at(ms), End: at(ms + 1)}
}

func failed(target string, ms int) Sample {
	return Sample{Target: target, Begin: at(ms), End: at(ms + 1), Err: errors.New("gone")}
}

func TestJudge(t *testing.T) {
	orderly := []workload.Write{write(1, 10), write(1, 20), write(2, 300), write(2, 310)}
	for _, test := range []struct {
		name     string
		evidence Evidence
		want     string // a part of the only violation; empty means none
	}{
		{"orderly switch", Evidence{Writes: orderly, Masters: []uint32{1, 2}}, ""},
		{"order of the slice does not matter",
			Evidence{Writes: []workload.Write{orderly[3], orderly[0], orderly[2], orderly[1]}, Masters: []uint32{1, 2}}, ""},
		{"no switch", Evidence{Writes: orderly[:2], Masters: []uint32{1}}, ""},
		{"there and back, in two more epochs",
			Evidence{Writes: append(orderly[:4:4], write(1, 500)), Masters: []uint32{1, 2, 1}}, ""},
		{"an epoch in which nobody wrote", Evidence{Writes: []workload.Write{write(1, 10), write(3, 300)},
			Masters: []uint32{1, 2, 3}}, ""},
		{"the old master acknowledges after the switch",
			Evidence{Writes: append(orderly[:4:4], write(1, 305)), Masters: []uint32{1, 2}}, "server 1 acknowledged 1 writes"},
		{"a stranger acknowledges",
			Evidence{Writes: append(orderly[:4:4], write(3, 15)), Masters: []uint32{1, 2}}, "server 3 acknowledged 1 writes"},
		{"a switch that was not announced", Evidence{Writes: orderly, Masters: []uint32{1}}, "server 2 acknowledged 2 writes"},
		{"nobody named a master", Evidence{Writes: orderly}, "no master was named"},
		{"a withdrawn server answers on an old connection", Evidence{Writes: orderly, Masters: []uint32{1, 2},
			Samples: []Sample{seen("proxy", 1, 10, true), seen("proxy", 2, 300, true), seen("proxy", 1, 310, true)}},
			"the proxy led 1 times to server 1"},
		{"a read-only old master behind the proxy takes no writes", Evidence{Writes: orderly, Masters: []uint32{1, 2},
			Samples: []Sample{seen("proxy", 1, 10, true), seen("proxy", 2, 300, true), seen("proxy", 1, 310, false)}}, ""},
		{"samples that overlap prove no order", Evidence{Writes: orderly, Masters: []uint32{1, 2},
			Samples: []Sample{seen("proxy", 2, 300, true), {Target: "proxy", Proxy: true, ServerID: 1, Writable: true,
				Begin: at(290), End: at(305)}}}, ""},
		{"loss without semi-sync", Evidence{Writes: orderly, Masters: []uint32{1, 2}, Lost: orderly[1:2]}, ""},
		{"loss under semi-sync", Evidence{Writes: orderly, Masters: []uint32{1, 2}, Lost: orderly[1:2], SemiSync: true},
			"1 acknowledged writes are lost under semi-sync"},
		{"loss after the switch", Evidence{Writes: orderly, Masters: []uint32{1, 2}, Lost: orderly[3:]},
			"1 lost writes were acknowledged after the last switch"},
		{"loss without a switch", Evidence{Writes: orderly[:2], Masters: []uint32{1}, Lost: orderly[:1]},
			"though the master never changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict := Judge(test.evidence)
			if test.want == "" {
				if !verdict.OK() {
					t.Errorf("violations %q, want none", verdict.Violations)
				}
				return
			}
			if len(verdict.Violations) != 1 || !strings.Contains(verdict.Violations[0], test.want) {
				t.Errorf("violations %q, want one that says %q", verdict.Violations, test.want)
			}
			if !strings.Contains(verdict.String(), "VIOLATION: "+verdict.Violations[0]) {
				t.Errorf("the text %q hides the violation", verdict)
			}
		})
	}
}

func TestSwitchesAreMeasured(t *testing.T) {
	verdict := Judge(Evidence{Writes: []workload.Write{write(1, 10), write(1, 20), write(2, 300)}, Masters: []uint32{1, 2}})
	if len(verdict.Switches) != 1 {
		t.Fatalf("switches %+v, want one", verdict.Switches)
	}
	want := Switch{From: 1, To: 2, LastAck: at(20), FirstAck: at(300)}
	if verdict.Switches[0] != want {
		t.Errorf("switch %+v, want %+v", verdict.Switches[0], want)
	}
}

func TestDualWritable(t *testing.T) {
	for _, test := range []struct {
		name    string
		samples []Sample
		want    []Interval
	}{
		{"one after the other", []Sample{seen("a", 1, 0, true), seen("a", 1, 10, true), seen("a", 1, 20, false),
			seen("b", 2, 10, false), seen("b", 2, 20, true), seen("b", 2, 30, true)}, nil},
		{"a thawed master until it is reached", []Sample{seen("a", 1, 0, true), failed("a", 10), seen("a", 1, 100, true),
			seen("a", 1, 150, true), seen("a", 1, 160, false), seen("b", 2, 50, true), seen("b", 2, 100, true),
			seen("b", 2, 200, true)}, []Interval{{at(100), at(151)}}},
		{"both for ever", []Sample{seen("a", 1, 0, true), seen("b", 2, 5, true), seen("a", 1, 20, true), seen("b", 2, 25, true)},
			[]Interval{{at(5), at(21)}}},
		{"the proxy is no server", []Sample{seen("a", 1, 0, true), seen("proxy", 1, 0, true), seen("a", 1, 10, true),
			seen("proxy", 1, 10, true)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Judge(Evidence{Samples: test.samples, Masters: []uint32{1, 2}}).DualWritable
			if len(got) != len(test.want) {
				t.Fatalf("intervals %v, want %v", got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("interval %v, want %v", got[i], test.want[i])
				}
			}
		})
	}
}
