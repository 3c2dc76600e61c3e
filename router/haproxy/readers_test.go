package haproxy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/router/haproxy"
)

var readers = haproxy.Readers{Backend: "shop_readers", Slots: 3}

func at(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 3306)
}

// nobody is a slot as the generated configuration has it.
func nobody() haproxy.State {
	return haproxy.State{Address: netip.MustParseAddrPort("192.0.2.1:3306"), Admin: 5, Weight: 1}
}

func open(n, sessions int) haproxy.State {
	return haproxy.State{Address: at(n), Operational: 2, Weight: 1, Sessions: sessions}
}

func TestReadersGolden(t *testing.T) {
	for name, test := range map[string]struct {
		want  []haproxy.Reader
		slots []haproxy.State
	}{
		"first":   {[]haproxy.Reader{{at(1), 1}, {at(2), 7}}, []haproxy.State{nobody(), nobody(), nobody()}},
		"leaves":  {[]haproxy.Reader{{at(2), 1}}, []haproxy.State{open(1, 4), open(2, 5), nobody()}},
		"swaps":   {[]haproxy.Reader{{at(4), 1}, {at(2), 1}, {at(3), 1}}, []haproxy.State{open(1, 4), open(2, 5), open(3, 6)}},
		"nobody":  {nil, []haproxy.State{open(1, 0), nobody(), open(2, 1)}},
		"follows": {[]haproxy.Reader{{at(1), 1}}, []haproxy.State{open(1, 9), nobody(), nobody()}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			slots := slices.Clone(test.slots)
			for range 9 {
				step := haproxy.NextReaders(readers, test.want, slots)
				fmt.Fprintf(&out, "%s\n", step.Why)
				for _, command := range step.Commands {
					fmt.Fprintf(&out, "  %s\n", command)
				}
				obey(t, slots, step.Commands)
			}
			golden(t, "readers-"+name+".golden", strings.TrimSpace(out.String())+"\n")
		})
	}
}

type fatal interface{ Fatalf(string, ...any) }

// obey is HAProxy's part.
func obey(t fatal, slots []haproxy.State, commands []string) {
	for _, command := range commands {
		done := false
		for n := range slots {
			s, name := &slots[n], readers.Slot(n).String()
			var host string
			var number int
			switch {
			case command == "set server "+name+" state maint":
				s.Admin, s.Operational = s.Admin|1, 0
			case command == "set server "+name+" state ready":
				s.Admin, s.Operational = s.Admin&4, 2
			case command == "shutdown sessions server "+name:
				s.Sessions = 0
			case scan(command, "set server "+name+" weight %d", &number):
				s.Weight = number
			case scan(command, "set server "+name+" addr %s port %d", &host, &number):
				if s.Serving() || s.Sessions > 0 {
					t.Fatalf("%s is moved with %d sessions: %+v", name, s.Sessions, s)
				}
				s.Address = netip.AddrPortFrom(netip.MustParseAddr(host), uint16(number))
			default:
				continue
			}
			done = true
		}
		if !done {
			t.Fatalf("HAProxy does not know %q", command)
		}
	}
}

func scan(text, format string, into ...any) bool {
	// Sscanf takes what is left over for good.
	n, err := fmt.Sscanf(text+" .", format+" .", into...)
	return err == nil && n == len(into)
}

// TestAnySlotsEndAsWanted begins with whatever a proxy can be found in. Sessions
// may come in a slot that serves at any time.
func TestAnySlotsEndAsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := make([]haproxy.State, readers.Slots)
		for n := range slots {
			slots[n] = haproxy.State{Address: at(rapid.IntRange(0, 4).Draw(t, "address")), Weight: rapid.IntRange(0, 2).Draw(t, "weight"),
				Admin:       rapid.SampledFrom([]int{0, 1, 4, 5, 8}).Draw(t, "admin"),
				Operational: rapid.SampledFrom([]int{0, 2}).Draw(t, "operational"), Sessions: rapid.IntRange(0, 2).Draw(t, "sessions")}
		}
		var all []haproxy.Reader
		for n := range 5 {
			if rapid.Bool().Draw(t, "wanted") {
				all = append(all, haproxy.Reader{Address: at(n), Weight: rapid.IntRange(1, 3).Draw(t, "share")})
			}
		}
		want, over := readers.Fit(all)
		if len(want)+over != len(all) || len(want) > readers.Slots {
			t.Fatalf("%d of %d fit, and %d do not", len(want), len(all), over)
		}
		kept := map[netip.AddrPort]int{}
		for _, s := range slots {
			if s.Serving() && slices.ContainsFunc(want, func(w haproxy.Reader) bool { return w.Address == s.Address }) {
				kept[s.Address] = max(kept[s.Address], 1)
			}
		}
		steps := 0
		for ; ; steps++ {
			step := haproxy.NextReaders(readers, want, slots)
			if (step.Why == "") != (len(step.Commands) == 0) {
				t.Fatalf("a step %+v", step)
			}
			if step.Why == "" {
				break
			}
			if steps > 4 {
				t.Fatalf("no end: %+v, want %+v, have %+v", step, want, slots)
			}
			for _, command := range step.Commands {
				for n, s := range slots {
					if kept[s.Address] == 1 && s.Serving() && !duplicate(slots, n) && strings.Contains(command, readers.Slot(n).String()+" state maint") {
						t.Fatalf("%s serves a reader that stays, and is told %q", readers.Slot(n), command)
					}
				}
			}
			obey(t, slots, step.Commands)
			for n := range slots {
				if slots[n].Serving() {
					slots[n].Sessions += rapid.IntRange(0, 1).Draw(t, "comes")
				}
			}
		}
		proof := haproxy.ProofOfReaders(want, slots)
		if proof.Left != 0 || len(proof.Serving) != len(want) {
			t.Fatalf("proof %+v, want %+v, have %+v", proof, want, slots)
		}
		for _, w := range want {
			if !slices.ContainsFunc(slots, func(s haproxy.State) bool {
				return s.Address == w.Address && s.Serving() && s.Weight == w.Weight
			}) {
				t.Fatalf("%+v is not served: %+v", w, slots)
			}
		}
	})
}

// duplicate reports whether an earlier slot leads to the same address.
func duplicate(slots []haproxy.State, n int) bool {
	return slices.ContainsFunc(slots[:n], func(s haproxy.State) bool { return s.Address == slots[n].Address && s.Serving() })
}

func TestParseReaders(t *testing.T) {
	answers := []string{
		statesHeader + "3 shop_readers 1 reader1 10.0.0.1 2 4 7 1 0 1 0 0 8 0 0 0 - 3306 - 0 0 - - 0\n" +
			"3 shop_readers 2 reader2 10.0.0.2 2 0 1 1 0 1 0 0 8 0 0 0 - 3307 - 0 0 - - 0\n" +
			"3 shop_readers 3 reader3 - 0 5 1 1 0 1 0 0 8 0 0 0 - 3306 - 0 0 - - 0\n\n",
		"# pxname,svname,scur,\nshop_readers,reader3,0,\nshop_readers,reader1,4,\nshop_readers,reader2,5,\n\n",
	}
	slots, err := haproxy.ParseReaders(readers, answers)
	if err != nil || len(slots) != 3 || slots[0].Weight != 7 || slots[0].Sessions != 4 || !slots[0].Serving() ||
		slots[1].Address != netip.MustParseAddrPort("10.0.0.2:3307") || slots[2].Address.IsValid() || !slots[2].Maint() {
		t.Fatalf("%+v, %v", slots, err)
	}
	for want, answers := range map[string][]string{
		"want 2":                    answers[:1],
		"no server reader3":         {strings.Replace(answers[0], "reader3", "other", 1), answers[1]},
		"no server reader2":         {answers[0], strings.Replace(answers[1], "reader2", "other", 1)},
		"Can't find backend":        {"Can't find backend.\n", answers[1]},
		"No such proxy":             {answers[0], "No such proxy.\n"},
		"shop_readers/reader1: col": {answers[0], strings.Replace(answers[1], "reader1,4", "reader1,x", 1)},
	} {
		if _, err := haproxy.ParseReaders(readers, answers); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestReadersValidate(t *testing.T) {
	for want, r := range map[string]haproxy.Readers{
		"readers.backend is empty": {Slots: 3}, "slots is 0": {Backend: "b"}, "slots is 65": {Backend: "b", Slots: 65},
		"is not allowed": {Backend: "b;c", Slots: 1},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	if err := readers.Validate(); err != nil || readers.IsZero() || !(haproxy.Readers{}).IsZero() {
		t.Error(err)
	}
	if fit, over := readers.Fit([]haproxy.Reader{{at(1), 1}, {at(1), 2}, {at(2), 1}, {at(3), 9}, {at(4), 1}}); over != 1 ||
		fit[0].Address != at(3) || len(fit) != 3 {
		t.Errorf("%+v fit, %d do not", fit, over)
	}
}
