package agent

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"switchyard/router/routes"
)

// history is what a ledger may say of a cluster, in order: each epoch withdraws,
// announces or is given up, and changes its readers then.
func history(t *rapid.T) []routes.Table {
	hosts := []string{"a", "b", "c"}
	said := []routes.Table{table(1, 1, "a")}
	for number := uint64(2); number < 2+uint64(rapid.IntRange(1, 4).Draw(t, "epochs")); number++ {
		withdrawn := table(number, 1, "")
		withdrawn.Planned = rapid.Bool().Draw(t, "planned")
		said = append(said, withdrawn)
		if rapid.IntRange(0, 3).Draw(t, "given up") == 0 {
			continue
		}
		master := rapid.SampledFrom(hosts).Draw(t, "master")
		for revision := range uint64(rapid.IntRange(1, 3).Draw(t, "revisions")) {
			announced := table(number, 2+revision, master)
			if revision > 0 {
				announced.Readers = []routes.Reader{{Server: server("reader"), Weight: int(revision)}}
			}
			said = append(said, announced)
		}
	}
	return said
}

// TestNeverBackWhateverTheOrder: tables arrive in any order, twice or never, from
// pushes, controllers and a directory, with restarts between; a proxy is never
// told an older one after a newer, and ends at the newest.
func TestNeverBackWhateverTheOrder(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(r *rapid.T) {
		said := history(r)
		deliveries := rapid.SliceOfN(rapid.IntRange(0, len(said)-1), 0, 12).Draw(r, "deliveries")
		var plan []func(*host)
		for _, n := range deliveries {
			what := said[n]
			switch rapid.IntRange(0, 3).Draw(r, "way") {
			case 0:
				plan = append(plan, func(h *host) { h.apply(what) })
			case 1:
				c := rapid.IntRange(0, 2).Draw(r, "controller")
				leads := rapid.Bool().Draw(r, "leads")
				plan = append(plan, func(h *host) {
					id := h.controllers[c].id
					if !leads {
						id = ""
					}
					h.controllers[c].say(id, what)
				})
			case 2:
				if what.Writer != nil {
					plan = append(plan, func(h *host) { h.directory.put(what) })
				}
			default:
				plan = append(plan, nil) // a restart
			}
		}
		last := said[len(said)-1]
		runs++
		file := fmt.Sprintf("%s/%d.json", dir, runs)
		var failure string
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t)
			h.file = file
			stop := h.run()
			defer func() { stop() }()
			for _, step := range plan {
				if step == nil {
					stop()
					stop = h.run()
					continue
				}
				step(h)
				time.Sleep(time.Duration(len(plan)) * 37 * time.Millisecond)
			}
			// The leader says the newest in the end, as it does all the time.
			if a := h.apply(last); !a.Proof.Holds || !is(h.agent.held("shop").Table, last) {
				failure = fmt.Sprintf("the newest is not held: %+v", a)
			}
			time.Sleep(10 * time.Second)
			stop()
			for _, p := range []*pretend{h.proxy, h.other} {
				if !sameWriter(p.follows, last) {
					failure = fmt.Sprintf("%s ends at %s %s, want %s %s", p.name, place(p.follows), writer(p.follows), place(last), writer(last))
				}
				for i := 1; i < len(p.applied); i++ {
					if p.applied[i-1].Newer(p.applied[i]) {
						failure = fmt.Sprintf("%s was told %s after %s", p.name, place(p.applied[i]), place(p.applied[i-1]))
					}
				}
			}
			if h.log.count("contradicts") > 0 {
				failure = "one ledger's words were taken for those of two"
			}
		})
		if err := os.Remove(file); err != nil {
			r.Fatal(err)
		}
		if failure != "" {
			r.Fatal(failure)
		}
	})
}
