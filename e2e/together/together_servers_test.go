//go:build servers

package together_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/together"
)

var (
	runs    = flag.Int("runs", 1, "crashes of each kind")
	changes = flag.Int("changes", 1, "changes of the leader of each kind")
	figures = flag.String("figures", "", "the file to write what was measured to, as JSON")
)

// Once for each kind it is tried that the cluster has its master back; `make together` counts how long that takes. The
// kinds take turns, so that what else the machine does meets all of them.
func TestTogether(t *testing.T) {
	var report together.Report
	seen := map[together.Beside][]together.Outage{}
	for n := range *runs {
		for _, beside := range together.All() {
			t.Run(fmt.Sprintf("%s %d", beside, n+1), func(t *testing.T) {
				ctx, st, binary := newStack(t)
				out, err := together.Crash(ctx, st, binary, beside)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%v without a write; recovery %s %s", out.Longest.Round(time.Millisecond), out.Recovery.ID, out.Recovery.Outcome)
				if len(out.Violations) > 0 {
					t.Errorf("an invariant was violated: %q", out.Violations)
				}
				seen[beside] = append(seen[beside], out)
			})
		}
		// After each round, so that whoever has waited long enough has something.
		report.Outages = together.Outages(seen)
		keep(t, report)
	}
	t.Run("the leader is gone", func(t *testing.T) { report.Successions = successions(t) })
	keep(t, report)
}

func keep(t *testing.T, report together.Report) {
	t.Helper()
	if *figures == "" {
		return
	}
	if err := report.Write(*figures); err != nil {
		t.Error(err)
	}
}

func successions(t *testing.T) (out []together.SuccessionFigure) {
	ctx, st, binary := newStack(t)
	s, err := site.Start(ctx, st, together.Options(binary))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[together.Gone][]time.Duration{}
	for range *changes {
		for _, how := range together.Ways() {
			took, err := together.Succession(ctx, s, how)
			if err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			seen[how] = append(seen[how], took)
		}
	}
	for _, how := range together.Ways() {
		f := together.SuccessionFigure{Gone: how, Spread: together.NewSpread(seen[how])}
		t.Logf("a leader that is %s has a successor after %.0f ms (%.0f to %.0f)", how, f.Median, f.Min, f.Max)
		out = append(out, f)
	}
	return out
}

func newStack(t *testing.T) (context.Context, *stack.Stack, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute+time.Duration(*changes)*time.Minute)
	t.Cleanup(cancel)
	st, err := stack.New(ctx, stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	binary, err := st.BuildSwitchyard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, st, binary
}
