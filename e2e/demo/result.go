package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/e2e/invariants"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
	"switchyard/e2e/workload"
	"switchyard/store/ledger"
)

// Result is what a demo measured; with --json it is the last line of stdout.
type Result struct {
	Flavor   string `json:"flavor"`
	Fault    string `json:"fault"`
	SemiSync bool   `json:"semi_sync"`
	// OutageMS is the longest gap between two acknowledged writes of all workers together.
	OutageMS float64 `json:"outage_ms"`
	Acked    int     `json:"acked"`
	// Errors are those that the application saw: connections lost, and attempts to connect that failed.
	Errors workload.Errors `json:"errors"`
	// Lost counts the acknowledged writes that the new master does not have.
	Lost int `json:"lost"`
	// WritesPerSecond is the rate before the fault.
	WritesPerSecond float64 `json:"writes_per_second"`
	// PhasesMS are the recovery's phases; notice is all of the time from the fault until somebody looked.
	PhasesMS map[string]float64 `json:"phases_ms"`
	// Proxies is how many proxies there are, ConfirmedMS the time from "the new master is writable" until all of them were
	// read back to lead there; -1 if they were not.
	Proxies     int     `json:"proxies"`
	ConfirmedMS float64 `json:"confirmed_ms"`
	RecoveryID  string  `json:"recovery"`
	Outcome     string  `json:"outcome"`
	EpochBefore string  `json:"epoch_before"`
	EpochAfter  string  `json:"epoch_after"`
	OldMaster   string  `json:"old_master"`
	NewMaster   string  `json:"new_master"`
	// DualWritableMS is how long more than one server was writable for somebody who asked it directly.
	DualWritableMS float64  `json:"dual_writable_ms"`
	Violations     []string `json:"violations"`
}

func (r Result) write(out io.Writer) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

// failure is what makes a finished demo end with an error.
func (r Result) failure() error {
	if len(r.Violations) > 0 {
		return fmt.Errorf("an invariant was violated: %s", strings.Join(r.Violations, "; "))
	}
	return nil
}

// reckon counts, judges and tells.
func (d *demo) reckon(ctx context.Context, run *trial.Trial, a act) (Result, error) {
	winner, err := run.Winner(a.recovery)
	if err != nil {
		return Result{}, err
	}
	report, err := run.End(ctx, d.options.SemiSync, winner)
	if err != nil {
		return Result{}, err
	}
	after, err := d.settledTopology(ctx, a.old)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Flavor: d.options.Flavor, Fault: d.options.Fault, SemiSync: d.options.SemiSync,
		OutageMS: inMilliseconds(report.Outage), Acked: report.Acked, Errors: report.Errors, Lost: len(report.Lost), WritesPerSecond: run.Rate,
		PhasesMS: a.phases(), Proxies: len(d.site.Proxies), ConfirmedMS: a.confirmed(),
		RecoveryID: a.recovery.ID, Outcome: string(a.recovery.Outcome),
		EpochBefore: a.recovery.EpochBefore.String(), EpochAfter: a.recovery.Epoch.String(),
		OldMaster: a.recovery.Old.String(), NewMaster: a.recovery.Winner.String(),
		DualWritableMS: inMilliseconds(report.Verdict.DualWritableTime()),
		// A list in JSON even when it is empty.
		Violations: append([]string{}, report.Verdict.Violations...),
	}
	d.tell(a, after, result, report.Verdict)
	return result, nil
}

// settledTopology is the picture after the recovery: with all servers but the old master in order, if that comes about
// within a few seconds.
func (d *demo) settledTopology(ctx context.Context, old *stack.Server) (after wire.Topology, err error) {
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	waited := site.Until(wait, "the picture is up to date", func(ctx context.Context) error {
		if after, err = d.topology(ctx); err != nil {
			return err
		}
		for _, node := range after.Nodes {
			if node.Key.String() != old.Key() && node.Status != wire.NodeOK {
				return fmt.Errorf("%s is %s", node.Key, node.Status)
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return after, ctx.Err()
	}
	if waited != nil {
		d.progress("%v", waited)
	}
	return after, err
}

// phases are the recovery's own, but for notice: a controller counts it from its first suspicion, and what the
// application waits for begins with the fault.
func (a act) phases() map[string]float64 {
	phases := maps.Clone(a.recovery.Phases)
	var looked time.Time
	for _, step := range a.recovery.Steps {
		if step.Name != "notice" && (looked.IsZero() || step.StartedAt.Before(looked)) {
			looked = step.StartedAt
		}
	}
	if !looked.IsZero() {
		phases["notice"] = max(0, inMilliseconds(looked.Sub(a.at)))
	}
	return phases
}

// confirmed is the time from the end of the promotion to that of the step that told the proxies, in milliseconds.
func (a act) confirmed() float64 {
	var writable, routed time.Time
	for _, step := range a.recovery.Steps {
		switch {
		case step.Outcome == ledger.StepFailed:
		case step.Name == "promote":
			writable = step.EndedAt
		case step.Name == "route":
			routed = step.EndedAt
		}
	}
	if writable.IsZero() || routed.Before(writable) {
		return -1
	}
	return inMilliseconds(routed.Sub(writable))
}

func (d *demo) tell(a act, after wire.Topology, result Result, verdict invariants.Verdict) {
	d.heading("before")
	d.print("%s", ctl.Tree(a.before))
	d.timeline(a, verdict)
	d.heading("after")
	d.print("%s", ctl.Tree(after))
	d.heading("what the application saw")
	d.print("longest time without an acknowledged write   %.1f ms\n", result.OutageMS)
	d.print("acknowledged writes                          %d (%.0f per second before the fault)\n", result.Acked,
		result.WritesPerSecond)
	d.print("connections lost, attempts refused           %d, %d\n", result.Errors.Broken, result.Errors.Refused)
	d.print("from writable to all %d proxies confirmed     %.1f ms\n", result.Proxies, result.ConfirmedMS)
	d.print("acknowledged and missing on the new master   %d\n", result.Lost)
	if result.Lost > 0 && !d.options.SemiSync {
		d.print("  (asynchronous replication: what no replica had received died with the master; see --semi-sync)\n")
	}
	d.heading("what an observer saw, looking every 10 ms")
	d.print("%s", verdict.String())
}

// timeline tells the recovery from the fault on, one line for each step.
func (d *demo) timeline(a act, verdict invariants.Verdict) {
	d.heading("the recovery, counted from the " + d.options.Fault)
	r := a.recovery
	d.print("%s: %s\n", r.Finding, r.Outcome)
	if len(r.Evidence) > 0 {
		// The first piece sums up the others, which `switchyard recoveries ID` shows.
		d.print("  %s\n", r.Evidence[0])
	}
	d.print("\n%10s %10s  %-16s %-20s %s\n", "at", "took", "step", "on", "")
	for _, s := range verdict.Switches {
		d.print("%10s %10s  %s\n", offset(s.LastAck.Sub(a.at)), "", "the last write that the old master acknowledged")
	}
	for _, step := range r.Steps {
		note := step.Note
		if step.Outcome != "done" {
			note = strings.TrimSpace(string(step.Outcome) + " " + note)
		}
		d.print("%10s %10s  %-16s %-20s %s\n", offset(step.StartedAt.Sub(a.at)), milliseconds(step.EndedAt.Sub(step.StartedAt)),
			step.Name, step.Subject.String(), note)
	}
	for _, s := range verdict.Switches {
		d.print("%10s %10s  %s\n", offset(s.FirstAck.Sub(a.at)), "", "the first write that the new master acknowledged")
	}
	d.phases(a.phases())
}
