package failover_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/store/ledger"
)

// detections are what the audit says was found, and what of it has ended.
func (w *world) detections() []string {
	var out []string
	for _, e := range w.State().Audit {
		if e.Kind == ledger.AuditDetection {
			out = append(out, e.Action+" "+e.Server.Host+" "+e.Outcome)
		}
	}
	return out
}

// A finding is audited when it begins and when it has ended, whoever leads.
func TestDetectionsAreAuditedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(5 * time.Second)
		w.draw(cutOff)
		pass(20 * time.Second)
		if got := w.detections(); !slices.Equal(got, []string{"DeadMaster m "}) {
			t.Fatalf("%q", got)
		}
		e := w.audited(ledger.AuditDetection)[0]
		if e.By != "c1" || e.Cluster != "shop" || e.Reason == "" || len(e.Evidence) < 4 {
			t.Errorf("%+v", e)
		}
		// Another controller leads for a while.
		w.set(func() { w.leads = false })
		pass(5 * time.Second)
		w.set(func() { w.leads = true })
		pass(5 * time.Second)
		if got := w.detections(); len(got) != 1 {
			t.Errorf("after two changes of the leader: %q", got)
		}
		w.draw(healthy)
		pass(5 * time.Second)
		w.draw(cutOff) // it comes and goes
		pass(5 * time.Second)
		w.draw(healthy)
		pass(30 * time.Second)
		w.draw(cutOff)
		pass(5 * time.Second)
		if got := w.detections(); !slices.Equal(got, []string{"DeadMaster m ", "DeadMaster m ended", "DeadMaster m "}) {
			t.Errorf("%q", got)
		}
	})
}

// What ended while another led is told, too.
func TestDetectionThatEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(ledger.AppendAudit{Entries: []ledger.AuditEntry{{
			At: time.Now(), Kind: ledger.AuditDetection, Cluster: "shop", Server: key("m"), Action: "DeadMaster", By: "c2",
		}}})
		_, stop := w.start()
		defer stop()
		pass(time.Minute)
		if got := w.detections(); !slices.Equal(got, []string{"DeadMaster m ", "DeadMaster m ended"}) {
			t.Errorf("%q", got)
		}
	})
}

// An audit that was not committed is tried again.
func TestDetectionThatWasNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "append-audit" {
				return errors.New("no majority")
			}
			return nil
		}
		_, stop := w.start()
		defer stop()
		w.draw(cutOff)
		pass(5 * time.Second)
		w.set(func() { w.before = nil })
		pass(5 * time.Second)
		if got := w.detections(); !slices.Equal(got, []string{"DeadMaster m "}) {
			t.Errorf("%q", got)
		}
	})
}

// The leader forgets what is older than the operator keeps.
func TestAuditIsPruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.retention = 2 * time.Hour
		w.must(ledger.AppendAudit{Entries: []ledger.AuditEntry{
			{At: time.Now(), Kind: ledger.AuditOperator, Cluster: "shop", Action: "x", By: "kim"},
			{At: time.Now().Add(2 * time.Hour), Kind: ledger.AuditOperator, Cluster: "shop", Action: "y", By: "kim"},
		}})
		before := len(w.State().Audit)
		_, stop := w.start()
		defer stop()
		pass(time.Hour)
		if got := len(w.State().Audit); got != before {
			t.Errorf("%d entries of %d are left too early", got, before)
		}
		pass(2*time.Hour + time.Minute)
		var left []string
		for _, e := range w.State().Audit {
			if e.Kind == ledger.AuditOperator {
				left = append(left, e.Action)
			}
		}
		if !slices.Equal(left, []string{"y"}) {
			t.Errorf("left: %v", left)
		}
	})
}
