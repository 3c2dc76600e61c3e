package routes_test

import (
	"slices"
	"strings"
	"testing"

	"switchyard/router/routes"
)

func reader(host, datacenter string) routes.Reader {
	return routes.Reader{Server: routes.Server{Host: host, Port: 3306}, Datacenter: datacenter, Weight: 1}
}

func TestReadersFor(t *testing.T) {
	table := routes.Table{Readers: []routes.Reader{reader("a", "dc1"), reader("b", "dc2"), reader("c", ""), reader("d", "dc1")}}
	for datacenter, want := range map[string]string{"dc1": "a d", "dc2": "b", "dc3": "a b c d", "": "a b c d"} {
		var got []string
		for _, r := range table.ReadersFor(datacenter) {
			got = append(got, r.Host)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("in %q: %v, want %s", datacenter, got, want)
		}
	}
	table.ReadersFor("")[0].Weight = 9
	if table.Readers[0].Weight != 1 {
		t.Error("the table was changed through what it returned")
	}
}

func TestTableValidatesReaders(t *testing.T) {
	good := routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 1},
		Readers: []routes.Reader{reader("a", "dc1"), reader("b", "")}}
	for name, test := range map[string]struct {
		change func(*routes.Table)
		want   string
	}{
		"good":        {func(*routes.Table) {}, ""},
		"none":        {func(t *routes.Table) { t.Readers = nil }, ""},
		"no host":     {func(t *routes.Table) { t.Readers[0].Host = "" }, "readers[0]: host"},
		"no port":     {func(t *routes.Table) { t.Readers[1].Port = 0 }, "readers[1]: port"},
		"no weight":   {func(t *routes.Table) { t.Readers[1].Weight = 0 }, "readers[1]: weight"},
		"too heavy":   {func(t *routes.Table) { t.Readers[1].Weight = 257 }, "readers[1]: weight"},
		"twice":       {func(t *routes.Table) { t.Readers[1].Host = "a" }, "in order"},
		"not sorted":  {func(t *routes.Table) { slices.Reverse(t.Readers) }, "in order"},
		"too many":    {func(t *routes.Table) { t.Readers = make([]routes.Reader, 65) }, "at most 64"},
		"other ports": {func(t *routes.Table) { t.Readers[1].Host, t.Readers[1].Port = "a", 3307 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			table := good
			table.Readers = slices.Clone(good.Readers)
			test.change(&table)
			err := table.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Validate() = %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadersProofSaysWhatItSaw(t *testing.T) {
	for want, proof := range map[string]routes.ReadersProof{
		"reading from nobody with 0 sessions":                             {},
		"reading from a:1, b:2 with 3 sessions, of which 1 are elsewhere": {Serving: []string{"a:1", "b:2"}, Sessions: 3, Left: 1},
	} {
		if got := proof.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !(routes.Proof{}).ReadersHold() || (routes.Proof{Readers: &routes.ReadersProof{}}).ReadersHold() {
		t.Error("who carries no readers holds them, and who does not follow does not")
	}
}
