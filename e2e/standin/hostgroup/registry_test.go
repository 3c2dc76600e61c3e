package hostgroup

import (
	"testing"
	"testing/synctest"
	"time"
)

func row(hostgroup int, host string, status Status, weight int) Row {
	return Row{Key: Key{hostgroup, host, 3306}, Status: status, Weight: weight, MaxConnections: 10}
}

// taken counts whom many calls of Take choose.
func taken(r *Registry, hostgroup int, except *Server) map[string]int {
	counts := map[string]int{}
	for range 1000 {
		if s, _, _ := r.Take(hostgroup, "app", except); s != nil {
			counts[s.Key().Host]++
		}
	}
	return counts
}

func TestTakeChoosesByWeightAmongThoseOnline(t *testing.T) {
	r := New()
	r.Load([]Row{row(0, "a", Online, 1), row(0, "b", Online, 9), row(0, "c", Online, 0), row(0, "d", OfflineSoft, 1),
		row(0, "e", Shunned, 1), row(0, "f", OfflineHard, 1), row(1, "g", "online", 1)})
	if got := taken(r, 0, nil); len(got) != 2 || got["a"] == 0 || got["b"] < 5*got["a"]/2 {
		t.Errorf("of hostgroup 0 were taken %v, want a and, much more often, b", got)
	}
	if got := taken(r, 1, nil); len(got) != 1 || got["g"] != 1000 {
		t.Errorf("of hostgroup 1 were taken %v, want g", got)
	}
	g, _, _ := r.Take(1, "app", nil)
	if got := taken(r, 1, g); len(got) != 0 {
		t.Errorf("without g were taken %v, want none", got)
	}
	if got := taken(r, 2, nil); len(got) != 0 {
		t.Errorf("of an empty hostgroup were taken %v", got)
	}
}

func TestAFullServerIsNotTaken(t *testing.T) {
	r := New()
	full := row(0, "a", Online, 1)
	full.MaxConnections = 1
	r.Load([]Row{full})
	s, _, _ := r.Take(0, "app", nil)
	s.used = 1
	if got := taken(r, 0, nil); len(got) != 0 {
		t.Errorf("a full server was taken: %v", got)
	}
	changed := r.Changed()
	r.mu.Lock()
	s.leave()
	r.mu.Unlock()
	select {
	case <-changed:
	default:
		t.Error("nobody was woken when the server had room again")
	}
	if got := taken(r, 0, nil); got["a"] != 1000 {
		t.Errorf("a server with room was taken %v times", got)
	}
}

func TestHardIsClosedAndRenewed(t *testing.T) {
	r := New()
	r.Load([]Row{row(0, "a", Online, 1)})
	s, _, _ := r.Take(0, "app", nil)
	s.used = 1 // somebody holds a connection, so the server is remembered
	closed := func() bool {
		select {
		case <-s.Hard():
			return true
		default:
			return false
		}
	}
	for _, step := range []struct {
		rows []Row
		want bool
	}{
		{[]Row{row(0, "a", OfflineSoft, 1)}, false}, {nil, true}, {nil, true}, {[]Row{row(0, "a", Online, 1)}, false},
		{[]Row{row(0, "a", OfflineHard, 1)}, true}, {[]Row{row(0, "a", Shunned, 1)}, false}, {[]Row{row(1, "a", Online, 1)}, true},
	} {
		r.Load(step.rows)
		if closed() != step.want {
			t.Errorf("after Load of %v: gone the hard way is %v, want %v", step.rows, closed(), step.want)
		}
	}
	if rows := r.Rows(); len(rows) != 2 || rows[0].Status != OfflineHard {
		t.Errorf("the runtime has %v, want the removed server too", rows)
	}
	s.used = 0
	if rows := r.Rows(); len(rows) != 1 {
		t.Errorf("the runtime has %v, want the loaded row only", rows)
	}
}

func TestFailuresShun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New()
		r.Load([]Row{row(0, "a", Online, 1)})
		a, _, _ := r.Take(0, "app", nil)
		fail := func(times int, apart time.Duration) {
			for range times {
				a.Failed(3, 10*time.Second)
				time.Sleep(apart)
			}
		}
		usable := func() bool { s, _, _ := r.Take(0, "app", nil); return s == a }
		fail(20, 500*time.Millisecond) // never three in a second
		if !usable() {
			t.Error("a server whose failures are far apart is shunned")
		}
		time.Sleep(time.Second)
		fail(3, 0)
		if usable() || r.Rows()[0].Status != Shunned {
			t.Error("three failures at once do not shun the server")
		}
		time.Sleep(time.Second)
		if !usable() {
			t.Error("a server that is alone does not come back after a second")
		}
		r.Load([]Row{row(0, "a", Online, 1), row(0, "b", Online, 1)})
		fail(3, 0)
		time.Sleep(9 * time.Second)
		if got := taken(r, 0, nil); got["b"] != 1000 {
			t.Errorf("while a is shunned %v are taken, want b", got)
		}
		time.Sleep(time.Second)
		if got := taken(r, 0, nil); len(got) != 2 {
			t.Errorf("after the time for recovery %v are taken, want both", got)
		}
	})
}
