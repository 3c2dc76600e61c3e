package protocol

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"switchyard/router/routes"
)

func announced() routes.Table {
	return routes.Table{Cluster: "shop", Epoch: epoch(), Revision: 2, Writer: &routes.Server{Host: "db-b", Port: 3306},
		Readers: []routes.Reader{{Server: routes.Server{Host: "2001:db8::7", Port: 3307}, Datacenter: "west", Weight: 100}}}
}

func withdrawn() routes.Table {
	return routes.Table{Cluster: "shop", Epoch: epoch(), Revision: 1, Planned: true}
}

// routeSamples are messages of the routes, by the names of their fixtures.
func routeSamples() map[string]any {
	at := netip.MustParseAddrPort("192.0.2.7:3306")
	return map[string]any{
		"apply":          Apply{Controller: "ctl-1", Proxy: "hap-a", Table: announced()},
		"apply-withdraw": Apply{Controller: "ctl-1", Proxy: "hap-a", Table: withdrawn()},
		"read":           Read{Controller: "ctl-1", Proxy: "hap-a", Table: announced()},
		"applied": Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "hap-a",
			Proof: routes.Proof{Address: at, Serving: true, Sessions: 12, Holds: true, Warning: "set query_retries_on_failure to 0"},
			Epoch: epoch(), Revision: 2, Digest: "9f3c"},
		"applied-not": Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "sql-a", Proof: routes.Proof{Host: "db-a:3306", Sessions: 1},
			Epoch: epoch(), Revision: 1, Problem: "1 session is left"},
		"applied-readers": Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "hap-a",
			Proof: routes.Proof{Address: at, Serving: true, Holds: true, Readers: &routes.ReadersProof{
				Serving: []string{"192.0.2.8:3306"}, Sessions: 3, Left: 1, Problem: "1 session is left"}},
			Epoch: epoch(), Revision: 3},
		"applied-repaired": Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "hap-a", Proof: routes.Proof{Address: at, Serving: true, Holds: true},
			Epoch: epoch(), Revision: 2, Repairs: 2, Strayed: &routes.Proof{Host: "db-a:3306", Serving: true, Sessions: 4}},
		"applied-down":  Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "hap-a", NotRunning: true, Epoch: epoch(), Revision: 1},
		"applied-older": Applied{Sidecar: "edge-a", Run: "r-1", Proxy: "hap-a", Older: true, Epoch: epoch(), Revision: 2},
		"watch": Watch{Sidecar: "edge-a", Run: "r-1", Datacenter: "west", Known: []Known{{"shop", epoch(), 2}, {Cluster: "till"}},
			Reports: []Report{{Proxy: "hap-a", Cluster: "shop", Epoch: epoch(), Revision: 1, Digest: "9f3c", Sessions: 3,
				Problem: "3 sessions are left"}, {Proxy: "hap-b", Cluster: "till"}}, WaitMS: 20_000},
		"watch-first": Watch{Sidecar: "edge-a", Run: "r-1", Datacenter: "west", Known: []Known{{Cluster: "shop"}}},
		"tables":      Tables{Controller: "ctl-1", Leader: "ctl-2", Tables: []routes.Table{announced()}},
		"tables-none": Tables{Controller: "ctl-1"},
	}
}

func TestBadMessagesOfRoutesAreRefusedByName(t *testing.T) {
	apply := func(change func(*routes.Table)) any {
		m := Apply{Controller: "c", Proxy: "p", Table: announced()}
		change(&m.Table)
		return m
	}
	watch := func(change func(*Watch)) any {
		m := routeSamples()["watch"].(Watch)
		change(&m)
		return m
	}
	for want, message := range map[string]any{
		"proxy is missing":               Apply{Controller: "c", Table: announced()},
		"epoch was never issued":         apply(func(t *routes.Table) { t.Epoch = routes.Epoch{} }),
		"cluster is empty":               apply(func(t *routes.Table) { t.Cluster = "" }),
		"writer.port is 0":               apply(func(t *routes.Table) { t.Writer = &routes.Server{Host: "a"} }),
		"table.writer.host has the char": apply(func(t *routes.Table) { t.Writer = &routes.Server{Host: "a\nb", Port: 1} }),
		"readers: there are 65":          apply(func(t *routes.Table) { t.Readers = make([]routes.Reader, 65) }),
		"readers[0]: port is 0":          apply(func(t *routes.Table) { t.Readers[0].Port = 0 }),
		"readers[0]: weight is 0":        apply(func(t *routes.Table) { t.Readers[0].Weight = 0 }),
		"read: ":                         Read{},
		"both not_running":               Applied{Sidecar: "s", Run: "r", Proxy: "p", NotRunning: true, Proof: routes.Proof{Holds: true}},
		"both older":                     Applied{Sidecar: "s", Run: "r", Proxy: "p", Older: true, Proof: routes.Proof{Holds: true}},
		"proof.readers.sessions is -1": Applied{Sidecar: "s", Run: "r", Proxy: "p",
			Proof: routes.Proof{Readers: &routes.ReadersProof{Sessions: -1}}},
		"proof.sessions is -1":             Applied{Sidecar: "s", Run: "r", Proxy: "p", Proof: routes.Proof{Sessions: -1}},
		"repairs is 1, and":                Applied{Sidecar: "s", Run: "r", Proxy: "p", Repairs: 1},
		"repairs is 0, and":                Applied{Sidecar: "s", Run: "r", Proxy: "p", Strayed: &routes.Proof{}},
		"strayed holds the table":          Applied{Sidecar: "s", Run: "r", Proxy: "p", Repairs: 1, Strayed: &routes.Proof{Holds: true}},
		"the number of known is 0":         watch(func(w *Watch) { w.Known = nil }),
		"known.cluster names \"shop\" twi": watch(func(w *Watch) { w.Known[1].Cluster = "shop" }),
		"reports.proxy names \"hap-a\" tw": watch(func(w *Watch) { w.Reports[1].Proxy = "hap-a" }),
		"reports.sessions is -1":           watch(func(w *Watch) { w.Reports[0].Sessions = -1 }),
		"reports.problem has 301 bytes":    watch(func(w *Watch) { w.Reports[0].Problem = strings.Repeat("x", 301) }),
		"wait_ms is 60001":                 watch(func(w *Watch) { w.WaitMS = 60_001 }),
		"the number of tables is 33":       Tables{Controller: "c", Tables: make([]routes.Table, 33)},
		"table.cluster names \"shop\" twi": Tables{Controller: "c", Tables: []routes.Table{announced(), withdrawn()}},
	} {
		if _, err := encode(message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", message, err, want)
		}
	}
}

func TestAnAnswerIsCutToWhatFits(t *testing.T) {
	reply := Tables{Controller: "c"}
	for i := range MaxProxies {
		table := announced()
		table.Cluster = fmt.Sprintf("cluster-%d", i)
		for len(table.Readers) < MaxReaders {
			table.Readers = append(table.Readers, routes.Reader{Weight: 1,
				Server: routes.Server{Host: strings.Repeat("h", 255), Port: uint16(len(table.Readers))}, Datacenter: strings.Repeat("d", maxName)})
		}
		reply.Tables = append(reply.Tables, table)
	}
	if _, err := Encode(reply); err == nil {
		t.Fatal("it fits uncut: this test shows nothing")
	}
	cut := Fit(reply)
	if _, err := Encode(cut); err != nil || len(cut.Tables) == 0 || cut.Tables[0].Cluster != "cluster-0" {
		t.Fatalf("%v: %d tables", err, len(cut.Tables))
	}
	if small := Fit(Tables{Controller: "c", Tables: reply.Tables[:1]}); len(small.Tables) != 1 {
		t.Errorf("%d tables, want the one", len(small.Tables))
	}
}

func TestAnyTextBecomesAProblemThatIsTaken(t *testing.T) {
	for _, given := range []string{"", "short", "two\nlines\x00", "\xff\xfe", strings.Repeat("x", 5000), strings.Repeat("é", 200),
		strings.Repeat("\xf0\x9f\x92\xa9", 100)} {
		got := Sentence(given)
		m := Applied{Sidecar: "s", Run: "r", Proxy: "p", Problem: got}
		if _, err := Encode(m); err != nil {
			t.Errorf("%.20q: %v", given, err)
		}
		if d := Detail(given); len(d) < len(got) || len(d) > maxDetail {
			t.Errorf("%.20q: a detail of %d bytes, and a sentence of %d", given, len(d), len(got))
		}
		if len(given) < 100 && len(got) > 3*len(given) {
			t.Errorf("%q became %q", given, got)
		}
	}
	if got := Sentence("as it is"); got != "as it is" {
		t.Errorf("got %q", got)
	}
}
