package sim_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/plan"
	"switchyard/controller/safety"
)

// stats is what the worlds of a run came to.
type stats struct {
	mu    sync.Mutex
	holds map[string]int

	seeds, live, acked, writes, elections, survivors, traps, refusals, switched, proven, salvaged int

	took       time.Duration
	faults     map[string]int
	during     map[string]int
	deposed    map[string]int
	recoveries map[string]int
	standings  map[string]int
	justified  map[string]int
}

func newStats() *stats {
	return &stats{
		holds: map[string]int{}, faults: map[string]int{}, during: map[string]int{}, deposed: map[string]int{},
		recoveries: map[string]int{}, standings: map[string]int{}, justified: map[string]int{},
	}
}

func (s *stats) hold(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds[code]++
}

// add takes what another counted.
func (s *stats) add(o *stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeds += o.seeds
	s.live += o.live
	s.acked += o.acked
	s.writes += o.writes
	s.elections += o.elections
	s.survivors += o.survivors
	s.traps += o.traps
	s.refusals += o.refusals
	s.switched += o.switched
	s.proven += o.proven
	s.salvaged += o.salvaged
	s.took = max(s.took, o.took)
	for _, pair := range [][2]map[string]int{
		{s.holds, o.holds}, {s.faults, o.faults}, {s.during, o.during}, {s.deposed, o.deposed},
		{s.recoveries, o.recoveries}, {s.standings, o.standings}, {s.justified, o.justified},
	} {
		for k, n := range pair[1] {
			pair[0][k] += n
		}
	}
}

// within counts the leaders that were lost while a recovery was open.
func (s *stats) within() int {
	n := 0
	for what, times := range s.deposed {
		if strings.HasPrefix(what, "after ") {
			n += times
		}
	}
	return n
}

// String is the report.
func (s *stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds: %d ended writable (at the latest %s after the faults), %d held for good reason\n",
		s.seeds, s.live, s.took.Round(time.Millisecond), s.seeds-s.live)
	fmt.Fprintf(&b, "%d writes, %d acknowledged; %d elections; %d commits by a successor; %d faults sprung within recoveries; "+
		"%d switchovers refused, %d done; %d failovers proven to lose nothing, %d parts of tails taken\n", s.writes, s.acked, s.elections, s.survivors, s.traps, s.refusals, s.switched, s.proven, s.salvaged)
	for _, table := range []struct {
		title string
		of    map[string]int
	}{
		{"recoveries", s.recoveries}, {"standings", s.standings}, {"faults", s.faults}, {"faults within a recovery", s.during},
		{"leaders lost", s.deposed}, {"holds", s.holds}, {"not writable in the end", s.justified},
	} {
		fmt.Fprintf(&b, "%s:\n", table.title)
		for _, k := range slices.Sorted(maps.Keys(table.of)) {
			fmt.Fprintf(&b, "    %-44s %8d\n", k, table.of[k])
		}
	}
	return b.String()
}

// missing says what a run of many seeds has not met often enough to prove
// anything: a controller that always holds, or a world in which nothing happens.
func (s *stats) missing() []string {
	var out []string
	want := func(what string, got int, perThousand int) {
		// Of what is rare, a small run says nothing.
		if least := s.seeds * perThousand / 1000; least >= 4 && got < least {
			out = append(out, fmt.Sprintf("%s: %d, and at least %d are wanted of %d seeds", what, got, least, s.seeds))
		}
	}
	want("clusters that ended writable", s.live, 930)
	want("acknowledged writes", s.acked, 200_000)
	want("failovers that are proven to lose nothing", s.proven, 60)
	want("parts of tails that were taken", s.salvaged, 50)
	want("elections", s.elections, 1100)
	want("commits by a successor", s.survivors, 3)
	want("faults within recoveries", s.traps, 400)
	want("switchovers that were refused", s.refusals, 50)
	for name, n := range map[string]int{
		"failover completed": 300, "reinstate completed": 60, "switchover completed": 60, "switchover undone": 8,
		"failover failed": 2,
	} {
		want("recoveries: "+name, s.recoveries[name], n)
	}
	for name, n := range map[string]int{"member": 250, "quarantined": 5} {
		want("servers that became "+name, s.standings[name], n)
	}
	for _, f := range faults() {
		want("faults: "+f.name, s.faults[f.name], 10*f.weight)
		if f.weight > 2 {
			want("faults within a recovery: "+f.name, s.during[f.name], 2*f.weight)
		}
	}
	for _, code := range []safety.Code{
		safety.ReplicasReplicating, safety.AntiFlap, safety.MasterCutOff, safety.RestartGrace, safety.MasterReadOnly,
		safety.AllReplicasDead,
	} {
		want("holds: "+string(code), s.holds[string(code)], 3)
	}
	for _, step := range []plan.Name{
		plan.Withdraw, plan.StopReceiving, plan.Fence, plan.Pick, plan.WaitApplied, plan.Promote, plan.Route, plan.Repoint,
	} {
		want("leaders lost after "+string(step), s.deposed["after "+string(step)], 2)
	}
	want("leaders lost within recoveries", s.within(), 60)
	slices.Sort(out)
	return out
}
