package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/store/ledger"
)

func marksOf(t testing.TB, s *Store) []Mark {
	t.Helper()
	all, err := s.Marks()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// at returns the mark at an entry.
func at(all []Mark, index uint64) (Mark, bool) {
	for _, m := range all {
		if m.Index == index {
			return m, true
		}
	}
	return Mark{}, false
}

// agree waits until all have the same newest mark, and returns it.
func agree(t testing.TB, all ...*Store) Mark {
	t.Helper()
	var newest Mark
	eventually(t, "all have the same ledger at the same entry", func() bool {
		for i, s := range all {
			marks := marksOf(t, s)
			if len(marks) == 0 || i > 0 && marks[len(marks)-1] != newest {
				return false
			}
			newest = marks[len(marks)-1]
		}
		return true
	})
	return newest
}

// adoptAll has clusters from one number to another adopted, whoever leads meanwhile. They
// are long, so that the log takes several segments: raft-wal still reads what was cut
// as long as its segment is there.
func adoptAll(t testing.TB, from, to int, among ...*Store) {
	t.Helper()
	missing := func(s *Store) (left []int) {
		for n := from; n <= to; n++ {
			if !knows(s, n) {
				left = append(left, n)
			}
		}
		return left
	}
	eventually(t, "all is committed", func() bool {
		for _, s := range among {
			if !s.IsLeader() {
				continue
			}
			var results []<-chan error
			for _, n := range missing(s) {
				cmd := adopt(n).(ledger.AdoptMaster)
				cmd.UUID = strings.Repeat("u", 255)
				results = append(results, s.ProposeAsync(bounded(t), cmd))
			}
			for _, result := range results {
				<-result
			}
			return len(missing(s)) == 0
		}
		return false
	})
}

// cut waits until all have cut their logs.
func cut(t testing.TB, all ...*Store) {
	t.Helper()
	eventually(t, "the logs are cut", func() bool {
		for _, s := range all {
			if first, err := s.disk.log.FirstIndex(); err != nil || first <= 350 {
				return false
			}
		}
		return true
	})
}

// Every controller keeps the states at the same entries, and says the same of them:
// also one that was restarted, and one that got a snapshot.
func TestMarksAreTheSameEverywhere(t *testing.T) {
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].MarkEvery = 20
		cfgs[i].Compaction = Compaction{Every: 20 * time.Millisecond, Entries: 20, Keep: 5, SegmentBytes: 64 << 10}
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	adoptAll(t, 1, 100, all...)
	newest := agree(t, all...)
	kept := marksOf(t, lead)
	if len(kept) < 4 || newest.Digest == "" || newest.Version == 0 || newest.Index == 0 || newest.Term == 0 {
		t.Fatalf("%+v", kept)
	}
	for _, s := range others(all, lead) {
		common := 0
		for _, m := range kept {
			if other, ok := at(marksOf(t, s), m.Index); ok {
				common++
				if other != m {
					t.Errorf("%s says %+v, the leader %+v", s.cfg.ID, other, m)
				}
			}
		}
		if common < 4 {
			t.Errorf("%s can be compared at %d entries only: %+v, the leader has %+v", s.cfg.ID, common, marksOf(t, s), kept)
		}
	}

	late := others(all, lead)[0]
	closeNow(t, late)
	again := open(t, late.cfg)
	if m, ok := at(marksOf(t, again), newest.Index); !ok || m != newest {
		t.Errorf("after a restart it says %+v, before %+v", marksOf(t, again), newest)
	}
	closeNow(t, again)
	rest := others(all, late)
	adoptAll(t, 101, 400, rest...)
	cut(t, rest...)
	back := open(t, late.cfg)
	agree(t, append(rest, back)...)
	for _, m := range marksOf(t, back) {
		if other, ok := at(marksOf(t, rest[0]), m.Index); ok && other != m {
			t.Errorf("after a snapshot it says %+v, another %+v", m, other)
		}
	}
}

// divergence is what a comparison would have said of s.
func divergence(t testing.TB, s *Store, holders ...*Store) Divergence {
	t.Helper()
	marks := marksOf(t, s)
	m := marks[len(marks)-1]
	d := Divergence{Index: m.Index, Own: m.Digest, Theirs: "another", At: noon}
	for _, h := range holders {
		d.Holders = append(d.Holders, h.cfg.ID)
	}
	return d
}

// A leader that stands aside gives leadership away, and takes it no more, over a
// restart too; without its data directory it is as good as any other.
func TestTheLeaderStandsAside(t *testing.T) {
	t.Parallel()
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].Timeouts = brisk()
	}
	all := openAll(t, cfgs)
	first := leader(t, all...)
	adoptAll(t, 1, 1, all...)
	rest := others(all, first)
	for _, s := range rest {
		eventually(t, "it follows", func() bool { return knows(s, 1) })
	}
	// What is said of a ledger that it does not have, any more, is not heard.
	first.StandAside(Divergence{Index: 1 << 40, Own: "another", Theirs: "one more", At: noon})
	if first.Aside() != "" {
		t.Fatal("it stands aside for a ledger that is not its own")
	}
	first.StandAside(divergence(t, first, rest...))
	if why := first.Aside(); !strings.Contains(why, "empty its data_dir "+first.cfg.DataDir) {
		t.Errorf("it says %q", why)
	}
	if first.IsLeader() {
		t.Error("it leads still")
	}
	for name, err := range map[string]error{
		"Propose": first.Propose(bounded(t), adopt(2)), "VerifyLeader": first.VerifyLeader(bounded(t)),
	} {
		if !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	second := leader(t, rest...)
	adoptAll(t, 3, 3, rest...)
	eventually(t, "it follows on", func() bool { return knows(first, 3) })

	closeNow(t, first)
	again := open(t, first.cfg)
	if again.Aside() != first.Aside() {
		t.Errorf("after a restart it says %q", again.Aside())
	}
	// Its vote counts still: with one of the others it is a majority.
	closeNow(t, second)
	adoptAll(t, 4, 4, others(rest, second)...)
	eventually(t, "it follows on", func() bool { return knows(again, 4) })
	open(t, second.cfg)

	closeNow(t, again)
	if err := os.RemoveAll(again.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, again.cfg)
	eventually(t, "it has it all again", func() bool { return knows(fresh, 4) })
	if fresh.Aside() != "" {
		t.Errorf("with a new ledger it says %q", fresh.Aside())
	}
}

// Where only one that stands aside has the newest entry, it hands that on: otherwise
// nobody could be elected.
func TestOneThatStandsAsideHandsOnWhatItAloneHas(t *testing.T) {
	t.Parallel()
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].Timeouts = brisk()
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	adoptAll(t, 1, 1, all...)
	behind, aside := others(all, lead)[0], others(all, lead)[1]
	eventually(t, "both follow", func() bool { return knows(behind, 1) && knows(aside, 1) })
	closeNow(t, behind)
	adoptAll(t, 2, 2, lead, aside)
	eventually(t, "one has it", func() bool { return knows(aside, 2) })
	aside.StandAside(divergence(t, aside, lead, behind))
	closeNow(t, lead)
	back := open(t, behind.cfg)
	heir := leader(t, back, aside)
	if heir != back || !knows(back, 2) {
		t.Errorf("%s leads, and the other knows it: %t", heir.cfg.ID, knows(back, 2))
	}
	adoptAll(t, 3, 3, back)
	eventually(t, "it follows", func() bool { return knows(aside, 3) })
	if aside.Aside() == "" || aside.IsLeader() {
		t.Error("it takes part again")
	}
}

// A ledger that the leader sent is not the one that was found wrong.
func TestASnapshotEndsStandingAside(t *testing.T) {
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].Compaction = Compaction{Every: 20 * time.Millisecond, Entries: 20, Keep: 5, SegmentBytes: 64 << 10}
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	adoptAll(t, 1, 1, all...)
	late := others(all, lead)[0]
	eventually(t, "it follows", func() bool { return knows(late, 1) })
	old := divergence(t, late, lead)
	late.StandAside(old)
	closeNow(t, late)
	rest := others(all, late)
	adoptAll(t, 2, 400, rest...)
	cut(t, rest...)
	back := open(t, late.cfg)
	eventually(t, "it has the leader's", func() bool { return knows(back, 1) && knows(back, 400) })
	eventually(t, "it takes part again", func() bool { return back.Aside() == "" })
	if _, err := os.Stat(filepath.Join(late.cfg.DataDir, asideName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is written down still: %v", err)
	}
	// What was found of the one before comes too late.
	back.StandAside(old)
	if back.Aside() != "" {
		t.Error("it stands aside for the ledger that it had before")
	}
}

// A note that cannot be read is a reason to refuse: it is there for a reason.
func TestTheNoteIsDamaged(t *testing.T) {
	cfg := single(t)
	closeNow(t, open(t, cfg))
	for _, text := range []string{"", "{", "{}", "\x00\x00\x00\x00"} {
		if err := os.WriteFile(filepath.Join(cfg.DataDir, asideName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, cfg, ErrDamaged, asideName, "remove the directory")
	}
}

// One that stands aside gives leadership to another voter also where those who held the
// majority's ledger are no voters any more.
func TestOneThatStandsAsideGivesWayToWhoeverThereIs(t *testing.T) {
	all := openAll(t, configs(t, 3))
	first := leader(t, all...)
	adoptAll(t, 1, 1, all...)
	d := divergence(t, first)
	d.Holders = []string{"former1", "former2"} // Replaced since then.
	first.StandAside(d)
	rest := others(all, first)
	second := leader(t, rest...)
	adoptAll(t, 2, 2, second)
}
