package haproxy_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

var (
	slot     = haproxy.Backend{Backend: "shop_writer", Server: "writer"}
	master   = netip.MustParseAddrPort("10.0.0.2:3307")
	withdraw = routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 7}, Revision: 1}
	announce = routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 7}, Revision: 2,
		Writer: &routes.Server{Host: "db2", Port: 3307}}
)

// golden compares with a file; UPDATE_GOLDEN=1 writes it instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func script(b haproxy.Backend, phases []haproxy.Phase) string {
	var out strings.Builder
	for _, phase := range phases {
		fmt.Fprintf(&out, "# %s: serving %v, address %s, looks %d\n", phase.Name,
			phase.Expect.Serving, phase.Expect.Address, phase.Expect.Looks)
		for _, command := range append(phase.Commands, haproxy.ReadBack(b)...) {
			out.WriteString(command + "\n")
		}
		for _, command := range phase.Again {
			out.WriteString("again: " + command + "\n")
		}
	}
	return out.String()
}

func TestPlanGolden(t *testing.T) {
	tests := []struct {
		name  string
		table routes.Table
		at    netip.AddrPort
	}{
		{"withdraw.golden", withdraw, netip.AddrPort{}},
		{"announce.golden", announce, master},
		{"announce6.golden", announce, netip.MustParseAddrPort("[fd00::2]:3306")},
		{"announce.golden", announce, netip.MustParseAddrPort("[::ffff:10.0.0.2]:3307")},
	}
	for _, test := range tests {
		phases, err := haproxy.Plan(slot, test.table, test.at)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		golden(t, test.name, script(slot, phases))
	}
}

func TestPlanRefuses(t *testing.T) {
	tests := []struct {
		name  string
		slot  haproxy.Backend
		table routes.Table
		at    netip.AddrPort
		want  string
	}{
		{"no backend", haproxy.Backend{Server: "writer"}, withdraw, master, "backend is empty"},
		{"no server", haproxy.Backend{Backend: "b"}, withdraw, master, "server is empty"},
		{"second command", haproxy.Backend{Backend: "b", Server: "s;shutdown"}, withdraw, master, "';' is not allowed"},
		{"second line", haproxy.Backend{Backend: "b\nquit", Server: "s"}, withdraw, master, "is not allowed"},
		{"blank", haproxy.Backend{Backend: "b x", Server: "s"}, withdraw, master, "' ' is not allowed"},
		{"slash", haproxy.Backend{Backend: "b/x", Server: "s"}, withdraw, master, "'/' is not allowed"},
		{"long", haproxy.Backend{Backend: strings.Repeat("b", 300), Server: "s"}, withdraw, master, "300 characters"},
		{"no epoch", slot, routes.Table{Cluster: "shop"}, master, "epoch"},
		{"no address", slot, announce, netip.AddrPort{}, "want an IP address and a port"},
		{"no port", slot, announce, netip.AddrPortFrom(master.Addr(), 0), "want an IP address and a port"},
		{"unspecified", slot, announce, netip.MustParseAddrPort("0.0.0.0:3306"), "unspecified"},
		{"zone", slot, announce, netip.MustParseAddrPort("[fe80::1%eth0]:3306"), "zone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			phases, err := haproxy.Plan(test.slot, test.table, test.at)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Plan() = %v, %v; want an error with %q", phases, err, test.want)
			}
		})
	}
}

func TestNoCommandCarriesAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9_.:;\n -]{1,12}`))
		b := haproxy.Backend{Backend: name.Draw(t, "backend"), Server: name.Draw(t, "server")}
		phases, err := haproxy.Plan(b, announce, master)
		if err != nil {
			return
		}
		var commands []string
		for _, phase := range phases {
			commands = append(append(append(commands, phase.Commands...), phase.Again...), haproxy.ReadBack(b)...)
		}
		for _, command := range commands {
			if strings.ContainsAny(command, ";\n\r\x00\\\"'") || strings.Count(command, " ") > 6 {
				t.Fatalf("%q is more than one command", command)
			}
		}
	})
}

// TestReadyComesLast is the rule that keeps two masters apart, for any table.
func TestReadyComesLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := withdraw
		table.Revision = rapid.Uint64().Draw(t, "revision")
		if rapid.Bool().Draw(t, "writer") {
			table.Writer = announce.Writer
		}
		phases, err := haproxy.Plan(slot, table, master)
		if err != nil {
			t.Fatal(err)
		}
		if first := phases[0].Commands[0]; first != "set server shop_writer/writer state maint" {
			t.Fatalf("it begins with %q", first)
		}
		for i, phase := range phases {
			ready := strings.Contains(strings.Join(phase.Commands, "\n"), "state ready")
			if ready != (table.Writer != nil && i == len(phases)-1) || ready != phase.Expect.Serving {
				t.Fatalf("phase %d of %v: %+v", i, table.Writer, phase)
			}
		}
		if goal := haproxy.Goal(table, master); goal.Serving != phases[len(phases)-1].Expect.Serving ||
			goal.Address != phases[len(phases)-1].Expect.Address {
			t.Fatalf("the goal %+v is not where the plan ends: %+v", goal, phases)
		}
	})
}

const statesHeader = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight " +
	"srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state " +
	"srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port " +
	"srv_check_addr srv_agent_addr srv_agent_port\n"

func states(addr string, operational, admin int) string {
	return statesHeader +
		"3 shop_writer 1 reader 10.9.9.9 2 0 1 1 0 1 0 0 8 0 0 0 - 3306 - 0 0 - - 0\n" +
		fmt.Sprintf("3 shop_writer 2 writer %s %d %d 1 1 0 1 0 0 8 0 0 0 - 3307 - 0 0 - - 0\n\n", addr, operational, admin)
}

func stat(sessions string) string {
	return "# pxname,svname,qcur,qmax,scur,smax,slim,last_chk,\n" +
		"shop_writer,reader,0,0,99,0,,,\n" +
		"shop_writer,writer,0,0," + sessions + ",50,,\"a, quoted, check\",\n\n"
}

func TestParseState(t *testing.T) {
	tests := []struct {
		name               string
		operational, admin int
		maint, serving     bool
	}{
		{"as configured", 0, 5, true, false},
		{"ready, once disabled in the file", 2, 4, false, true},
		{"ready", 2, 0, false, true},
		{"maintenance by hand", 0, 1, true, false},
		{"maintenance, not yet stopped", 2, 1, false, false},
		{"found dead by a check", 0, 0, false, false},
		{"draining", 2, 8, false, false},
		{"inherited maintenance", 0, 2, false, false},
		{"name not resolved", 0, 32, false, false},
		{"stopping", 3, 0, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state, err := haproxy.ParseState(slot, []string{states("10.0.0.2", test.operational, test.admin), stat("3")})
			if err != nil {
				t.Fatal(err)
			}
			if state.Address != master || state.Sessions != 3 {
				t.Errorf("got %+v", state)
			}
			if state.Maint() != test.maint || state.Serving() != test.serving {
				t.Errorf("maint %v, serving %v; want %v, %v", state.Maint(), state.Serving(), test.maint, test.serving)
			}
		})
	}
}

func TestParseStateOfAnUnresolvedServer(t *testing.T) {
	state, err := haproxy.ParseState(slot, []string{states("-", 0, 32), stat("0")})
	if err != nil || state.Address.IsValid() {
		t.Fatalf("got %+v, %v; want no address", state, err)
	}
}

func TestParseStateRefuses(t *testing.T) {
	good, counts := states("10.0.0.2", 2, 0), stat("0")
	tests := []struct {
		name    string
		answers []string
		want    string
	}{
		{"nothing", nil, "want 2"},
		{"no backend", []string{"Can't find backend.\n", counts}, "Can't find backend"},
		{"denied", []string{"Permission denied\n", counts}, "Permission denied"},
		{"empty", []string{"", counts}, "show servers state shop_writer"},
		{"other version", []string{"2" + good[1:], counts}, "version 2"},
		{"no such server", []string{strings.ReplaceAll(good, "writer 10", "other 10"), counts}, "no server writer"},
		{"short line", []string{statesHeader + "3 shop_writer 2 writer\n", counts}, "columns"},
		{"no number", []string{strings.ReplaceAll(good, "10.0.0.2 2 0", "10.0.0.2 x 0"), counts}, "invalid syntax"},
		{"no header", []string{"1\n", counts}, "no server writer"},
		{"no such proxy", []string{good, "No such proxy.\n"}, "No such proxy"},
		{"not counted", []string{good, stat("")}, "scur"},
		{"no row", []string{good, "# pxname,svname,scur,\n"}, "no server writer"},
		{"broken quotes", []string{good, "# pxname,svname,scur,\nshop_writer,\"writer,0,\n"}, "show stat"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state, err := haproxy.ParseState(slot, test.answers)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("ParseState() = %+v, %v; want an error with %q", state, err, test.want)
			}
		})
	}
}

func TestParseStateNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"1", "shop_writer writer", "# be_name srv_name",
			"# pxname,svname,scur", "shop_writer,writer,7"}))
		text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOf(line).Draw(t, "lines"), "\n") })
		_, err := haproxy.ParseState(slot, []string{text.Draw(t, "states"), text.Draw(t, "stat")})
		if err == nil {
			t.Fatal("rubbish was taken for a state")
		}
	})
}

func TestAccepted(t *testing.T) {
	const addr = "set server shop_writer/writer addr 10.0.0.2 port 3307"
	tests := []struct {
		command, answer string
		good            bool
	}{
		{"set server shop_writer/writer state maint", "\n", true},
		{"set server shop_writer/writer state maint", "No such server.\n", false},
		{"shutdown sessions server shop_writer/writer", "", true},
		{"shutdown sessions server shop_writer/writer", "Permission denied\n", false},
		{"shutdown sessions server shop_writer/writer", "IP changed from", false},
		{addr, "IP changed from '10.0.0.1' to '10.0.0.2', no need to change the port by 'stats socket command'\n", true},
		{addr, "no need to change the addr, no need to change the port by 'stats socket command'\n", true},
		{addr, "no need to change the addr, port changed from '1' to '3307' by 'stats socket command'\n", true},
		{addr, "Invalid addr 'x' by 'stats socket command'\n", false},
		{addr, "Unknown command, but maybe one of the following ones is a better match:\n" + strings.Repeat("x", 1000), false},
	}
	for _, test := range tests {
		err := haproxy.Accepted(test.command, test.answer)
		if (err == nil) != test.good {
			t.Errorf("Accepted(%q, %q) = %v, want accepted: %v", test.command, test.answer, err, test.good)
		}
		var refused *haproxy.RefusedError
		if err != nil && (!errors.As(err, &refused) || refused.Command != test.command || len(err.Error()) > 500) {
			t.Errorf("the error does not name the command, or is endless: %v", err)
		}
	}
}

func TestUnmet(t *testing.T) {
	maint := haproxy.State{Address: master, Admin: 5}
	open := haproxy.State{Address: master, Operational: 2, Sessions: 9}
	busy := maint
	busy.Sessions = 2
	elsewhere := netip.MustParseAddrPort("10.0.0.1:3306")
	tests := []struct {
		name   string
		expect haproxy.Expect
		state  haproxy.State
		want   string
	}{
		{"withdrawn", haproxy.Expect{}, maint, ""},
		{"not withdrawn", haproxy.Expect{}, open, "not in maintenance"},
		{"sessions left", haproxy.Expect{}, busy, "2 sessions"},
		{"moved", haproxy.Expect{Address: master}, maint, ""},
		{"not moved", haproxy.Expect{Address: elsewhere}, maint, "leads to 10.0.0.2:3307"},
		{"serving", haproxy.Expect{Serving: true, Address: master}, open, ""},
		{"not serving", haproxy.Expect{Serving: true, Address: master}, maint, "does not serve"},
		{"serving elsewhere", haproxy.Expect{Serving: true, Address: elsewhere}, open, "leads to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.expect.Unmet(test.state)
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Fatalf("Unmet() = %q, want %q", got, test.want)
			}
		})
	}
}
