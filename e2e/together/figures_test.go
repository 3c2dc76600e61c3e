package together_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/together"
	"switchyard/store/ledger"
)

func TestSpread(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		all  []time.Duration
		want together.Spread
	}{
		{nil, together.Spread{All: []float64{}}},
		{[]time.Duration{5 * ms}, together.Spread{Runs: 1, Median: 5, Min: 5, Max: 5, All: []float64{5}}},
		{[]time.Duration{4 * ms, ms, 9 * ms, 2 * ms}, together.Spread{Runs: 4, Median: 3, Min: 1, Max: 9, All: []float64{4, 1, 9, 2}}},
	} {
		if got := together.NewSpread(c.all); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, want %+v", c.all, got, c.want)
		}
	}
}

func TestOutagesAreComparedWithThePlainCrash(t *testing.T) {
	crash := func(ms int, outcome ledger.Outcome, see float64) together.Outage {
		return together.Outage{Longest: time.Duration(ms) * time.Millisecond, Lost: 1,
			Recovery: wire.Recovery{Outcome: outcome, Phases: map[string]float64{"see": see}}}
	}
	figures := together.Outages(map[together.Beside][]together.Outage{
		together.Leader:  {crash(300, ledger.Completed, 30), crash(500, ledger.Incomplete, 50)},
		together.Nothing: {crash(100, ledger.Completed, 5)},
	})
	if len(figures) != 2 || figures[0].Beside != together.Nothing || figures[0].TimesPlain != 1 {
		t.Fatalf("%+v", figures)
	}
	f := figures[1]
	if f.Beside != together.Leader || f.Median != 400 || f.TimesPlain != 4 || f.Lost != 2 || f.Phases["see"] != 40 ||
		f.Outcomes["completed"] != 1 || f.Outcomes["incomplete"] != 1 {
		t.Errorf("%+v", f)
	}
	file := filepath.Join(t.TempDir(), "out.json")
	if err := (together.Report{Outages: figures}).Write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back together.Report
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back.Outages, figures) {
		t.Errorf("%v: %s", err, text)
	}
}
