package ledger

import (
	"fmt"
	"testing"
	"time"
)

func TestDatacentersAreMarkedDown(t *testing.T) {
	s := shop(t)
	down := MarkDatacenterDown{Datacenter: "dc1", By: "kim", Reason: "power", Until: noon.Add(time.Hour), At: noon}
	s = run(t, s, down)
	if e := newest(s); e.Action != "mark-datacenter-down" || e.By != "kim" || e.Reason != "power" || e.Kind != AuditOperator ||
		len(e.Evidence) != 1 || e.Evidence[0] != "dc1, until "+noon.Add(time.Hour).Format(time.RFC3339) {
		t.Errorf("%+v", e)
	}
	if got := s.Down(noon.Add(59 * time.Minute)); len(got) != 1 || got["dc1"].By != "kim" {
		t.Errorf("%+v", got)
	}
	if got := s.Down(noon.Add(time.Hour)); len(got) != 0 {
		t.Errorf("it never runs out: %+v", got)
	}
	same(t, s, down)

	// Longer, by another: it began when it began.
	longer := MarkDatacenterDown{Datacenter: "dc1", By: "lee", Reason: "still", Until: noon.Add(3 * time.Hour), At: noon.Add(time.Minute)}
	s = run(t, s, longer)
	if d := s.Datacenters["dc1"]; !d.Begun.Equal(noon) || d.By != "lee" || !d.Until.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("%+v", d)
	}
	// One that had run out begins anew.
	anew := MarkDatacenterDown{Datacenter: "dc1", By: "lee", Reason: "again", Until: noon.Add(9 * time.Hour), At: noon.Add(8 * time.Hour)}
	s = run(t, s, anew)
	if d := s.Datacenters["dc1"]; !d.Begun.Equal(noon.Add(8 * time.Hour)) {
		t.Errorf("%+v", d)
	}

	up := MarkDatacenterUp{Datacenter: "dc1", By: "lee", Reason: "over", At: noon.Add(8 * time.Hour)}
	s = run(t, s, up)
	if e := newest(s); s.Datacenters != nil || e.Action != "mark-datacenter-up" || e.Reason != "over" ||
		e.Evidence[0] != "dc1 was marked down by lee until "+noon.Add(9*time.Hour).Format(time.RFC3339)+": again" {
		t.Errorf("%+v %+v", s.Datacenters, e)
	}
	same(t, s, up)
}

func TestDatacentersAreBounded(t *testing.T) {
	s := shop(t)
	mark := func(n int) MarkDatacenterDown {
		return MarkDatacenterDown{Datacenter: fmt.Sprintf("dc%d", n), By: "kim", Reason: "x", Until: noon.Add(time.Hour), At: noon}
	}
	for n := range maxItems {
		s = run(t, s, mark(n))
	}
	refused(t, s, mark(maxItems), "are marked already")
	longer := mark(3)
	longer.Until = longer.Until.Add(time.Hour)
	run(t, s, longer)
}
