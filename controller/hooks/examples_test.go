package hooks_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"switchyard/controller/hooks"
	"switchyard/controller/topology"
)

// stage is a directory of stand-ins that come first on the PATH of hooks.
type stage struct {
	t   *testing.T
	dir string
}

// newStage makes stand-ins from shell scripts by their names. Each finds the
// directory in $STAGE.
func newStage(t *testing.T, scripts map[string]string) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	for name, body := range scripts {
		text := "#!/bin/sh\nset -eu\nSTAGE='" + s.dir + "'\n" + body + "\n"
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *stage) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// read returns a file of the stage, or nothing where there is none.
func (s *stage) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

// run runs an example as a hook.
func (s *stage) run(m hooks.Moment, f hooks.Facts, script, args string) hooks.Result {
	s.t.Helper()
	examples, err := filepath.Abs("../../docs/hooks")
	if err != nil {
		s.t.Fatal(err)
	}
	h := hooks.New(hooks.Config{
		Commands:    map[hooks.Moment][]string{m: {"'" + filepath.Join(examples, script) + "' " + args}},
		Environment: map[string]string{"PATH": s.dir + ":/usr/bin:/bin"},
	}, slog.New(slog.DiscardHandler))
	results, err := h.Run(s.t.Context(), m, f)
	if len(results) != 1 || err != nil && !m.Vetoes() {
		s.t.Fatalf("%+v, %v", results, err)
	}
	return results[0]
}

func wantOutput(t *testing.T, r hooks.Result, fails bool, want string) {
	t.Helper()
	if (r.Err != nil) != fails || !strings.Contains(r.Output, want) {
		t.Errorf("fails: want %t with %q, got %v with %q", fails, want, r.Err, r.Output)
	}
}

func TestDNSUpdate(t *testing.T) {
	const records = "server ns1.example\nzone db.example.\n" +
		"update delete shop.db.example. A\nupdate delete shop.db.example. AAAA\nupdate delete shop.db.example. CNAME\n"
	const options = "-z db.example. -s ns1.example -k key "
	for _, tc := range []struct{ name, successor, options, want string }{
		{"a name", "db2.example", options, "update add shop.db.example. 10 CNAME db2.example.\nsend\n"},
		{"IPv4", "10.0.0.2", options + "-t 30 ", "update add shop.db.example. 30 A 10.0.0.2\nsend\n"},
		{"IPv6", "2001:db8::2", options, "update add shop.db.example. 10 AAAA 2001:db8::2\nsend\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, map[string]string{"nsupdate": `echo "$*" >$STAGE/args; cat >$STAGE/input`})
			s.write("key", "secret")
			f := facts()
			f.Successor.Host = tc.successor
			r := s.run(hooks.PostMasterFailover, f, "dns-update.sh", strings.Replace(tc.options, "key", s.dir+"/key", 1)+"{failureCluster} {successorHost}")
			wantOutput(t, r, false, "shop.db.example is")
			if got := s.read("input"); got != records+tc.want {
				t.Errorf("nsupdate was told\n%s", got)
			}
			if got := s.read("args"); got != "-k "+s.dir+"/key -t 10 -u 3 -r 2\n" {
				t.Errorf("nsupdate was run with %s", got)
			}
		})
	}
	s := newStage(t, map[string]string{"nsupdate": `cat >/dev/null; echo "update failed: REFUSED" >&2; exit 2`})
	s.write("key", "secret")
	key := "-k " + s.dir + "/key "
	r := s.run(hooks.PostMasterFailover, facts(), "dns-update.sh", "-z db.example -s ns1 "+key+"{failureCluster} {successorHost}")
	wantOutput(t, r, true, "update failed: REFUSED\ndns-update: the update of shop.db.example was refused")
	for args, want := range map[string]string{
		"-z db.example -s ns1 " + key + "shop":                  "there are 1 arguments",
		"-z db.example -s ns1 " + key + "shop ''":               "must not be empty",
		"-z db.example -s ns1 " + key + "shop 'a\nserver evil'": "is no name",
		"-z db.example -s ns1 " + key + "shop {replicaHosts}":   "is no name",
		"-z db.example -s ns1 -k /none shop db2":                "cannot be read",
		"-z db.example -s ns1 -t 1h " + key + "shop db2":        "is no number of seconds",
		"-s ns1 " + key + "shop db2":                            "must not be empty",
		"-q":                                                    "usage:",
	} {
		wantOutput(t, s.run(hooks.PostMasterFailover, facts(), "dns-update.sh", args), true, want)
	}
}

// network is stand-ins for two hosts and the network between them. A file
// host-NAME has the addresses of a host; a host with a file down-NAME does not
// answer ssh, one with deaf-NAME does not answer ARP either.
var network = map[string]string{
	"ssh": `while [ $# -gt 0 ]; do
	case $1 in -o) shift 2;; -*) shift;; *) break;; esac
done
at=${1#*@}; echo "$1" >>$STAGE/users; shift
[ -e "$STAGE/down-$at" ] && exit 255
HOST=$at exec sh -c "$*"`,
	"sudo": `[ "$1" = -n ]; shift; echo "$HOST: $*" >>$STAGE/log; exec "$@"`,
	"ip": `mine=$STAGE/host-$HOST
case "$*" in
"-o -4 address show dev eth0 to "*) for last; do :; done; grep "^$last/" $mine || true;;
"address del "*" dev eth0") grep -v "^$3\$" $mine >$mine.new || true; mv $mine.new $mine;;
"address add "*" dev eth0") echo "$3" >>$mine;;
*) echo "ip $*: not understood" >&2; exit 1;;
esac`,
	"arping": `for last; do :; done
case " $* " in
*" -D "*) for other in $STAGE/host-*; do
		[ -e "$STAGE/deaf-${other#"$STAGE/host-"}" ] || ! grep -q "^$last/" $other || exit 1
	done;;
*" -U "*) grep -q "^$last/" $STAGE/host-$HOST;;
*) exit 2;;
esac`,
}

func TestVIPMove(t *testing.T) {
	const vip = "10.0.0.100/24"
	const args = "-a " + vip + " -i eth0 -u ha {failedHost} {successorHost}"
	old, next := "host-db1.example", "host-db2.example"
	for _, tc := range []struct {
		name     string
		world    map[string]string
		fails    bool
		output   string
		oldHas   bool
		newHas   bool
		announce bool
	}{
		{"moves", map[string]string{old: vip + "\n", next: ""}, false, "db2.example has 10.0.0.100 now", false, true, true},
		{"nobody had it", map[string]string{old: "", next: ""}, false, "db2.example has 10.0.0.100 now", false, true, true},
		{"again", map[string]string{old: "", next: vip + "\n"}, false, "db2.example has 10.0.0.100 already", false, true, true},
		{"the old host is gone", map[string]string{old: vip + "\n", next: "", "down-db1.example": "", "deaf-db1.example": ""},
			false, "db2.example has 10.0.0.100 now", true, true, true},
		{"the old host has it still", map[string]string{old: vip + "\n", next: "", "down-db1.example": ""},
			true, "somebody answers for 10.0.0.100 still", true, false, false},
		{"a third host has it", map[string]string{old: "", next: "", "host-db3.example": vip + "\n"},
			true, "somebody answers for 10.0.0.100 still", false, false, false},
		{"the new host is gone", map[string]string{old: vip + "\n", next: "", "down-db2.example": ""},
			true, "db2.example does not answer", false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, network)
			for name, text := range tc.world {
				s.write(name, text)
			}
			wantOutput(t, s.run(hooks.PostMasterFailover, facts(), "vip-move.sh", args), tc.fails, tc.output)
			if has := s.read(old) != ""; has != tc.oldHas {
				t.Errorf("the old host has it: %t", has)
			}
			if has := s.read(next) == vip+"\n"; has != tc.newHas {
				t.Errorf("the new host has it: %t", has)
			}
			if told := strings.Contains(s.read("log"), "db2.example: arping -U"); told != tc.announce {
				t.Errorf("it was announced: %t\n%s", told, s.read("log"))
			}
			if !strings.HasPrefix(s.read("users"), "ha@db1.example\n") {
				t.Errorf("ssh went to %s", s.read("users"))
			}
		})
	}
	s := newStage(t, network)
	for args, want := range map[string]string{
		"-a " + vip + " -i eth0 db1":                    "there are 1 arguments",
		"-a " + vip + " -i eth0 db1 ''":                 "must be given",
		"-a 10.0.0.100 -i eth0 db1 db2":                 "want ADDRESS/BITS",
		"-a 2001:db8::1/64 -i eth0 db1 db2":             "IPv6 has no ARP",
		"-a " + vip + " -i 'eth0;reboot' db1 db2":       "only letters",
		"-a " + vip + " -i eth0 'x;reboot' db2":         "only letters",
		"-a " + vip + " -i eth0 -u '$(reboot)' db1 db2": "only letters",
		"-a " + vip + " -i eth0 -- -oProxyCommand db2":  "begin with no dash",
		"-q": "usage:",
	} {
		wantOutput(t, s.run(hooks.PostMasterFailover, facts(), "vip-move.sh", args), true, want)
	}
	if s.read("users") != "" || s.read("log") != "" {
		t.Errorf("something was done: %s%s", s.read("users"), s.read("log"))
	}
}

func TestChatMessage(t *testing.T) {
	for _, tc := range []struct {
		moment hooks.Moment
		change func(*hooks.Facts)
		want   string
	}{
		{hooks.PostMasterFailover, func(*hooks.Facts) {},
			"shop: DeadMaster on db1.example:3306: recovery shop-7 (PostMasterFailover); successor db2.example:3306; lost db4.example:3306"},
		{hooks.OnFailureDetection, func(f *hooks.Facts) {
			f.Successor, f.Lost, f.FailureDescription = topology.Key{}, nil, "\"x\"\\\t$(id) `id`\né"
		}, `shop: DeadMaster on db1.example:3306 was detected: "x"\ $(id) ` + "`id` é"},
		{hooks.PreFailover, func(f *hooks.Facts) { f.Successor, f.Lost = topology.Key{}, nil },
			"shop: DeadMaster on db1.example:3306: recovery begins"},
		{hooks.PostUnsuccessfulFailover, func(f *hooks.Facts) { f.Successor, f.Lost, f.FailureDescription = topology.Key{}, nil, "no candidate" },
			"shop: DeadMaster on db1.example:3306: recovery shop-7 FAILED: no candidate"},
	} {
		s := newStage(t, map[string]string{"curl": `echo "$*" >$STAGE/args; cat >$STAGE/body`})
		s.write("chat", `url = "https://chat.example/hooks/hush"`)
		f := facts()
		tc.change(&f)
		wantOutput(t, s.run(tc.moment, f, "chat-message.sh", s.dir+"/chat"), false, "")
		var got struct{ Text string }
		if err := json.Unmarshal([]byte(s.read("body")), &got); err != nil || got.Text != tc.want {
			t.Errorf("%s: posted %q, %v, want %q", tc.moment, got.Text, err, tc.want)
		}
		if args := s.read("args"); !strings.HasPrefix(args, "--config "+s.dir+"/chat ") || !strings.Contains(args, "--fail") ||
			!strings.Contains(args, "--max-time 10") || strings.Contains(args, "hush") {
			t.Errorf("curl was run with %s", args)
		}
	}
	s := newStage(t, map[string]string{"curl": `cat >/dev/null; echo "curl: (22) 404" >&2; exit 22`})
	s.write("chat", "")
	wantOutput(t, s.run(hooks.PostFailover, facts(), "chat-message.sh", s.dir+"/chat"), true, "404\nchat-message: the message was not taken")
	wantOutput(t, s.run(hooks.PreFailover, facts(), "chat-message.sh", s.dir+"/chat || true"), false, "404")
	wantOutput(t, s.run(hooks.PostFailover, facts(), "chat-message.sh", s.dir+"/none"), true, "cannot be read")
	wantOutput(t, s.run(hooks.PostFailover, facts(), "chat-message.sh", ""), true, "there are 0 arguments")
}

// The examples are POSIX shell, whatever /bin/sh is here.
func TestExamplesParse(t *testing.T) {
	examples, err := filepath.Glob("../../docs/hooks/*.sh")
	if err != nil || len(examples) != 3 {
		t.Fatal(examples, err)
	}
	for _, shell := range []string{"sh", "dash", "bash"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		for _, example := range examples {
			args := []string{"-n", example}
			if shell == "bash" {
				args = append([]string{"--posix"}, args...)
			}
			if out, err := exec.Command(path, args...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s -n %s: %v %s", shell, example, err, out)
			}
		}
	}
	for _, example := range examples {
		if info, err := os.Stat(example); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: %v", example, err)
		}
	}
}
