package routes_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/router/routes"
)

func anyEpoch() *rapid.Generator[routes.Epoch] {
	return rapid.Custom(func(t *rapid.T) routes.Epoch {
		// Small numbers, so that equal ones are drawn too.
		return routes.Epoch{
			Generation: rapid.Uint64Range(0, 3).Draw(t, "generation"),
			Number:     rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64()).Draw(t, "number"),
		}
	})
}

func anyTable() *rapid.Generator[routes.Table] {
	return rapid.Custom(func(t *rapid.T) routes.Table {
		return routes.Table{
			Cluster: "shop", Epoch: anyEpoch().Draw(t, "epoch"), Revision: rapid.Uint64Range(0, 3).Draw(t, "revision"),
		}
	})
}

func TestEpochTextRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEpoch().Draw(t, "epoch")
		got, err := routes.ParseEpoch(want.String())
		if err != nil || got != want {
			t.Fatalf("ParseEpoch(%q) = %v, %v", want.String(), got, err)
		}
	})
}

func TestEpochOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyEpoch().Draw(t, "a"), anyEpoch().Draw(t, "b"), anyEpoch().Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%s and %s: not antisymmetric", a, b)
		}
		if a.Compare(b) == 0 && a != b {
			t.Fatalf("%s and %s are not the same", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%s, %s, %s: not transitive", a, b, c)
		}
		if next := a.Next(); next.Number > a.Number && next.Compare(a) <= 0 {
			t.Fatalf("%s does not follow %s", next, a)
		}
	})
}

func TestTableNewerIsStrict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTable().Draw(t, "a"), anyTable().Draw(t, "b")
		if a.Newer(a) {
			t.Fatalf("%v supersedes itself", a)
		}
		same := a.Epoch == b.Epoch && a.Revision == b.Revision
		if newer, older := a.Newer(b), b.Newer(a); newer == older && !same {
			t.Fatalf("%v and %v: exactly one must supersede the other", a, b)
		}
		if a.Epoch.Compare(b.Epoch) > 0 && !a.Newer(b) {
			t.Fatalf("revision outweighs epoch: %v, %v", a, b)
		}
	})
}

func TestParseEpochRefuses(t *testing.T) {
	for _, text := range []string{"", "1", ".", "1.", ".1", "-1.2", "1.2.3", "a.b", "1,2", " 1.2", "18446744073709551616.1"} {
		if epoch, err := routes.ParseEpoch(text); err == nil {
			t.Errorf("ParseEpoch(%q) = %v, want an error", text, epoch)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("ParseEpoch(%q): the error does not name it: %v", text, err)
		}
	}
}

func TestTableValidate(t *testing.T) {
	good := routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 1}, Revision: 2,
		Writer: &routes.Server{Host: "db1", Port: 3306}}
	tests := []struct {
		name   string
		change func(*routes.Table)
		want   string
	}{
		{"good", func(*routes.Table) {}, ""},
		{"withdrawn", func(t *routes.Table) { t.Writer = nil }, ""},
		{"no cluster", func(t *routes.Table) { t.Cluster = "" }, "cluster is empty"},
		{"no epoch", func(t *routes.Table) { t.Epoch = routes.Epoch{} }, "epoch"},
		{"no host", func(t *routes.Table) { t.Writer = &routes.Server{Port: 3306} }, "writer.host"},
		{"no port", func(t *routes.Table) { t.Writer = &routes.Server{Host: "db1"} }, "writer.port"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table := good
			test.change(&table)
			err := table.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Validate() = %v, want %q", err, test.want)
			}
		})
	}
}

func TestRecordValidate(t *testing.T) {
	record := routes.Record{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 4},
		Master: routes.Server{Host: "db1", Port: 3306}}
	if err := record.Validate(); err != nil {
		t.Fatal(err)
	}
	record.Master.Host = ""
	if err := record.Validate(); err == nil {
		t.Fatal("a record without a host was accepted")
	}
}

func TestHigherEpochErrorNamesBoth(t *testing.T) {
	err := fmt.Errorf("dc1: %w", &routes.HigherEpochError{Cluster: "shop",
		Held: routes.Epoch{Generation: 2, Number: 9}, Offered: routes.Epoch{Generation: 1, Number: 30}})
	var higher *routes.HigherEpochError
	if !errors.As(err, &higher) || higher.Held.Number != 9 {
		t.Fatalf("errors.As did not find it: %v", err)
	}
	for _, want := range []string{"shop", "2.9", "1.30"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestStrings(t *testing.T) {
	tests := []struct{ got, want string }{
		{routes.Server{Host: "db1", Port: 3306}.String(), "db1:3306"},
		{routes.Server{Host: "fd00::1", Port: 3306}.String(), "[fd00::1]:3306"},
		{routes.Proof{Address: netip.MustParseAddrPort("10.0.0.1:3306"), Serving: true, Sessions: 2}.String(),
			"serving 10.0.0.1:3306 with 2 sessions"},
		{routes.Proof{Address: netip.MustParseAddrPort("10.0.0.1:3306")}.String(),
			"withdrawn from 10.0.0.1:3306 with 0 sessions"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}
