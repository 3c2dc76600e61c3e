package haproxy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const operators = "# ours\nglobal\n  maxconn 10\n\ndefaults\n  mode tcp # always\nbackend other_writer\n  server master 10.0.0.9:3306\n" +
	"backend shop_writer\n\tserver spare 10.0.0.8:3306 backup\n\tserver master 10.0.0.1:3306   check  inter 2s odd-word  # moved\n" +
	"\tserver master2 10.0.0.7:3306\nlisten stats\n  bind :9000\n"

func TestMoveServer(t *testing.T) {
	slot := Backend{Backend: "shop_writer", Server: "master"}
	at := func(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }
	for name, test := range map[string]struct {
		at   netip.AddrPort
		want string
	}{
		"withdrawn": {netip.AddrPort{}, "\tserver master 192.0.2.1:3306 disabled check inter 2s odd-word # moved\n"},
		"moved":     {at("10.0.0.2:3307"), "\tserver master 10.0.0.2:3307 check inter 2s odd-word # moved\n"},
		"IPv6":      {at("[2001:db8::1]:3306"), "\tserver master [2001:db8::1]:3306 check inter 2s odd-word # moved\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := MoveServer(operators, slot, test.at)
			if err != nil {
				t.Fatal(err)
			}
			line, err := ServerLine(got, slot)
			if err != nil || line != test.want {
				t.Errorf("%v: the line is %q, want %q", err, line, test.want)
			}
			old, _ := ServerLine(operators, slot)
			if strings.Replace(got, line, old, 1) != operators {
				t.Errorf("other lines changed:\n%s", got)
			}
			if again, err := MoveServer(got, slot, test.at); err != nil || again != got {
				t.Errorf("moved again: %v\n%s", err, again)
			}
		})
	}
}

func TestMoveServerRefuses(t *testing.T) {
	slot := Backend{Backend: "shop_writer", Server: "master"}
	for name, test := range map[string]struct{ text, want string }{
		"no such backend":   {"backend shop\n  server master 10.0.0.1:1\n", "correct the names"},
		"no such server":    {"backend shop_writer\n  server other 10.0.0.1:1\n", "correct the names"},
		"another section":   {"backend shop_writer\nbackend b\n  server master 10.0.0.1:1\n", "correct the names"},
		"in a comment":      {"backend shop_writer\n  # server master 10.0.0.1:1\n", "correct the names"},
		"twice":             {"backend shop_writer\n  server master 10.0.0.1:1\n  server master 10.0.0.2:1\n", "remove one"},
		"quoted":            {"backend shop_writer\n  server master \"${M}\"\n", "without"},
		"without address":   {"backend shop_writer\n  server master\n", "has no address"},
		"ends in the line":  {"backend shop_writer\n  server master 10.0.0.1:1 che", "ends within a line"},
		"empty":             {"", "correct the names"},
		"unspecified IP":    {operators, "unspecified"},
		"server of another": {"listen other\n  server master 10.0.0.1:1\n", "correct the names"},
	} {
		at := netip.MustParseAddrPort("10.0.0.2:3306")
		if name == "unspecified IP" {
			at = netip.MustParseAddrPort("0.0.0.0:3306")
		}
		got, err := MoveServer(test.text, slot, at)
		if err == nil || !strings.Contains(err.Error(), test.want) || got != "" {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
		if unfinished := name == "ends in the line"; errors.Is(err, ErrUnfinished) != unfinished {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMoveServerKeepsEverythingElse: whatever stands around the line, and
// whatever words are on it, stay.
func TestMoveServerKeepsEverythingElse(t *testing.T) {
	slot := Backend{Backend: "b", Server: "s"}
	rapid.Check(t, func(t *rapid.T) {
		around := rapid.SliceOf(rapid.SampledFrom([]string{"\n", "# backend b\n", "  # server s 1.1.1.1:1\n", "  mode tcp\n",
			"  server s2 1.2.3.4:5 disabled\n", "\toption x # server s\n"}))
		words := rapid.SliceOf(rapid.SampledFrom([]string{"check", "backup", "disabled", "enabled", "weight", "5", "x"})).Draw(t, "words")
		head := strings.Join(around.Draw(t, "before"), "") + "backend b\n" + strings.Join(around.Draw(t, "above"), "")
		tail := strings.Join(around.Draw(t, "below"), "")
		at := netip.AddrPort{}
		if rapid.Bool().Draw(t, "announced") {
			at = netip.MustParseAddrPort("10.0.0.2:3306")
		}
		got, err := MoveServer(head+"  server s 10.0.0.1:3306 "+strings.Join(words, " ")+"\n"+tail, slot, at)
		if err != nil {
			t.Fatal(err)
		}
		line, errLine := ServerLine(got, slot)
		if errLine != nil || got != head+line+tail {
			t.Fatalf("%v: %q became %q", errLine, head, got)
		}
		rest := strings.Fields(line)[3:]
		if disabled := slices.Contains(rest, "disabled"); disabled == at.IsValid() {
			t.Fatalf("disabled: %v in %q", disabled, line)
		}
		kept := func(list []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(w string) bool { return w == "disabled" || w == "enabled" })
		}
		if !slices.Equal(kept(rest), kept(words)) || strings.Contains(line, "10.0.0.1") {
			t.Fatalf("%q of %q", line, words)
		}
	})
}

func TestForgetServer(t *testing.T) {
	slot := Backend{Backend: "shop_writer", Server: "master"}
	const head = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state\n"
	const others = "3 shop_writer 2 spare 10.0.0.8 2\n4 other_writer 1 master 10.0.0.9 2\n"
	got, err := ForgetServer(head+"3 shop_writer 1 master 10.0.0.1 2\n"+others, slot)
	if err != nil || got != head+others {
		t.Errorf("%v: %q", err, got)
	}
	if got, err := ForgetServer("", slot); err != nil || got != "" {
		t.Errorf("empty: %v: %q", err, got)
	}
	if _, err := ForgetServer(strings.Replace(head, "1\n", "2\n", 1), slot); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("another version: %v", err)
	}
}
