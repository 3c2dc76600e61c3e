package haproxy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"switchyard/router/haproxy"
)

const afterReloads = `#<PID>          <type>          <reloads>       <uptime>        <version>      
21051           master          2 [failed: 0]   0d00h00m06s     2.6.12-1+deb12u4
# workers
21225           worker          0               0d00h00m02s     2.6.12-1+deb12u4
# old workers
21053           worker          1               0d00h00m06s     2.6.12-1+deb12u4
20007           worker          2               0d00h10m06s     2.6.12-1+deb12u4
# programs

`

func TestParseOldWorkers(t *testing.T) {
	before, rest, _ := strings.Cut(afterReloads, "# old workers")
	_, programs, _ := strings.Cut(rest, "# programs")
	for _, c := range []struct {
		name, answer string
		want         []int
	}{
		{"two", afterReloads, []int{21053, 20007}},
		{"none", before + "# programs" + programs, nil},
		{"program", strings.Replace(afterReloads, "# programs\n", "# programs\n77  helper 0 0d 1\n", 1), []int{21053, 20007}},
	} {
		got, err := haproxy.ParseOldWorkers(c.answer)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	for _, answer := range []string{
		"", "Unknown command: 'show proc'", strings.Replace(afterReloads, "21053", "none", 1), "#<PID> <type>\n1 master 0\n",
		strings.Replace(afterReloads, "21053", "-1", 1),
	} {
		if got, err := haproxy.ParseOldWorkers(answer); err == nil {
			t.Errorf("%q: %v, want an error", answer, got)
		}
	}
}

func TestParseSessionsOf(t *testing.T) {
	const answer = "0x56196c24ea80: proto=tcpv4 src=127.0.0.1:36450 fe=in be=shop_writer srv=writer ts=00 age=3s\n" +
		"0x56196c24ea90: proto=tcpv4 src=127.0.0.1:36451 fe=in be=other_writer srv=writer ts=00 age=3s\n" +
		"0x56196c24eaa0: proto=tcpv4 src=127.0.0.1:36452 fe=in be=shop_writer srv=<none> ts=00 age=3s\n" +
		"0x56196c24eab0: proto=tcpv4 src=127.0.0.1:36453 fe=in be=shop_writer srv=writer2 ts=00 age=3s\n" +
		"0x56196c360310: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00 age=0s\n\n"
	got, err := haproxy.ParseSessionsOf(slot, answer)
	if err != nil || !slices.Equal(got, []string{"0x56196c24ea80"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, nobody := range []string{"", "\n", "Can't find the target PID matching the prefix '@!99'\n"} {
		if got, err := haproxy.ParseSessionsOf(slot, nobody); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v; want none", nobody, got, err)
		}
	}
	for _, bad := range []string{"Unknown command", "0x1;reload: be=shop_writer srv=writer\n", "0x: be=shop_writer srv=writer\n",
		"Permission denied\n"} {
		if got, err := haproxy.ParseSessionsOf(slot, bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
	if _, err := haproxy.ParseSessionsOf(slot, "Can't connect to the target CLI!\n"); !errors.Is(err, haproxy.ErrWorkerSilent) {
		t.Errorf("a worker that is not reached: %v", err)
	}
	if got := haproxy.ShutSession(7, "0xa") + "|" + haproxy.ShowSessions(7); got != "@!7 shutdown session 0xa|@!7 show sess" {
		t.Errorf("the commands are %s", got)
	}
}

func TestParseWorkersAndPid(t *testing.T) {
	if got, err := haproxy.ParseWorkers(afterReloads); err != nil || !slices.Equal(got, []int{21225}) {
		t.Errorf("%v, %v", got, err)
	}
	none := strings.Replace(afterReloads, "21225           worker          0               0d00h00m02s     2.6.12-1+deb12u4\n", "", 1)
	if got, err := haproxy.ParseWorkers(none); err != nil || len(got) != 0 {
		t.Errorf("while none has started: %v, %v", got, err)
	}
	if got, err := haproxy.ParseWorkers(strings.Replace(afterReloads, "21225", "none", 1)); err == nil {
		t.Errorf("%v, want an error", got)
	}
	if got, err := haproxy.ParsePid("Name: HAProxy\nProcess_num: 1\nPid: 21225\nUptime: 0d\n"); err != nil || got != 21225 {
		t.Errorf("%d, %v", got, err)
	}
	for _, answer := range []string{"", "Name: HAProxy\n", "Pid: x\n"} {
		if got, err := haproxy.ParsePid(answer); err == nil {
			t.Errorf("%q: %d, want an error", answer, got)
		}
	}
}
