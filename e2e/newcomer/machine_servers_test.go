//go:build servers

package newcomer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// The README's machines are 10.0.0.1 and so on, and it names these directories.
const (
	readmeHost  = "10.0.0."
	configDir   = "/etc/switchyard"
	configFile  = configDir + "/switchyard.yaml"
	dataDir     = "/var/lib/switchyard"
	haproxyFile = "/etc/haproxy/haproxy.cfg"
)

// shop is what the newcomer has: machines, and the README.
type shop struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // it is the test's
	guide    *guide
	stack    *stack.Stack
	net      *stack.Net
	programs string
	machines []*machine
	// secrets are the values of the README's names for them.
	secrets *strings.Replacer
	// present makes the addresses of the first machines those of the present ones.
	present *strings.Replacer
}

// machine is a network namespace, and a directory in place of its root.
type machine struct {
	*shop
	number int
	host   *stack.Host
	root   string
	// here makes the README's addresses and paths those of the test.
	here       *strings.Replacer
	db         *stack.Server
	controller *stack.Process
	proxy      *stack.Process
}

func openShop(t *testing.T, machines int) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	s := &shop{t: t, ctx: ctx, guide: readGuide(t), programs: t.TempDir(), present: strings.NewReplacer()}
	var err error
	s.stack, err = stack.New(ctx, stack.Options{})
	s.must(err)
	t.Cleanup(func() {
		if err := s.stack.Close(); err != nil {
			t.Error(err)
		}
	})
	binary, err := s.stack.BuildSwitchyard(ctx)
	s.must(err)
	s.must(os.Symlink(binary, filepath.Join(s.programs, "switchyard")))
	haproxy, err := stack.HAProxyProgram()
	s.must(err)
	s.must(os.Symlink(haproxy, filepath.Join(s.programs, "haproxy")))
	var names []string
	for n := range machines {
		names = append(names, fmt.Sprintf("machine%d", n+1))
	}
	s.net, err = s.stack.NewNet(ctx, names...)
	s.must(err)
	for n, name := range names {
		s.machines = append(s.machines, s.newMachine(n+1, name))
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.showLogs()
		}
	})
	return s
}

func (s *shop) newMachine(n int, name string) *machine {
	s.t.Helper()
	m := &machine{shop: s, number: n, host: s.net.Host(name), root: s.t.TempDir()}
	var pairs []string
	for i, h := range s.hosts() {
		pairs = append(pairs, fmt.Sprintf("%s%d", readmeHost, i+1), h.Address())
	}
	for _, dir := range []string{configDir, dataDir, filepath.Dir(haproxyFile)} {
		pairs = append(pairs, dir, filepath.Join(m.root, dir))
		if dir != dataDir {
			s.must(os.MkdirAll(filepath.Join(m.root, dir), 0o700))
		}
	}
	s.must(os.MkdirAll(filepath.Dir(filepath.Join(m.root, dataDir)), 0o700))
	m.here = strings.NewReplacer(pairs...)
	for _, part := range []string{m.part("db"), m.part("c"), m.part("ha")} {
		s.must(s.net.Place(part, name))
	}
	return m
}

func (s *shop) hosts() (list []*stack.Host) {
	for n := 1; s.net.Host(fmt.Sprintf("machine%d", n)) != nil; n++ {
		list = append(list, s.net.Host(fmt.Sprintf("machine%d", n)))
	}
	return list
}

func (s *shop) showLogs() {
	for _, m := range s.machines {
		for _, p := range []*stack.Process{m.controller, m.proxy} {
			if p != nil {
				lines := strings.Split(p.Output(), "\n")
				s.t.Logf("%s:\n%s", p.Name(), strings.Join(lines[max(0, len(lines)-25):], "\n"))
			}
		}
	}
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) until(within time.Duration, what string, check func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	s.must(site.Until(ctx, what, check))
}

func (m *machine) part(kind string) string { return fmt.Sprintf("%s%d", kind, m.number) }

// key is how its database server is called.
func (m *machine) key() string {
	return net.JoinHostPort(m.host.Address(), fmt.Sprint(stack.MySQLPort))
}

func (m *machine) path(path string) string { return m.here.Replace(path) }

// own makes of the README's text for the first machine that for this one.
func (m *machine) own(text string) string {
	return strings.NewReplacer("c1.pem", m.part("c")+".pem", "c1-key.pem", m.part("c")+"-key.pem", "id: c1\n", "id: "+m.part("c")+"\n",
		"server_id = 1\n", fmt.Sprintf("server_id = %d\n", m.number), "report_host = "+readmeHost+"1\n", fmt.Sprintf("report_host = %s%d\n", readmeHost, m.number),
		"--name ha1", "--name "+m.part("ha")).Replace(text)
}

// shell is the README's text as this machine's shell is given it, in its /etc/switchyard and with the secrets where they are known.
func (m *machine) shell(text string) string {
	return fmt.Sprintf("set -eu; PATH=%s:$PATH; cd %s\nif [ -e secrets ]; then . ./secrets; fi\n%s",
		m.programs, m.path(configDir), m.here.Replace(text))
}

// run has it run commands, and returns what they print.
func (m *machine) run(text string) string {
	m.t.Helper()
	said, err := m.try(text)
	if err != nil {
		m.t.Fatalf("%s: %s\n%v", m.host.Name(), text, err)
	}
	return said
}

func (m *machine) try(text string) (string, error) {
	ctx, cancel := context.WithTimeout(m.ctx, 2*time.Minute)
	defer cancel()
	said, err := m.host.Run(ctx, "sh", "-c", m.shell(text))
	if err != nil {
		return said, errors.New(said) // the error has all of the commands
	}
	return said, nil
}

// serve has it run a command for ever.
func (m *machine) serve(part, command string) *stack.Process {
	m.t.Helper()
	p, err := m.stack.StartProcess(m.ctx, stack.ProcessSpec{Name: part, Path: "/bin/sh", Args: []string{"-c", m.shell("exec " + command)}})
	m.must(err)
	return p
}

// operator is a text with the environment that the README gives to commands before it.
func (m *machine) operator(command string) string {
	environment, _, found := strings.Cut(m.guide.block("export SWITCHYARD_API"), "switchyard status")
	if !found {
		m.t.Fatal("the README's environment of commands does not end with `switchyard status`")
	}
	return m.present.Replace(environment) + command
}

// tell runs a command of the operator's, again where it fails: a leader that has just died may not have a successor yet, and
// one that dies or is cut off may have heard it. Happened says that it did all the same; nil is for a command of which
// only success tells.
func (m *machine) tell(command string, happened func() bool) {
	m.t.Helper()
	m.until(2*time.Minute, "it is done: "+command, func(context.Context) error {
		_, err := m.try(m.operator(command))
		if err != nil && happened != nil && happened() {
			return nil
		}
		return err
	})
}

// status is what `switchyard status` says, or why it cannot.
func (m *machine) status() (status wire.Status, err error) {
	said, err := m.try(m.operator("switchyard status --format json"))
	if err == nil {
		err = json.Unmarshal([]byte(said), &status)
	}
	return status, err
}

// routed waits until the proxies lead to a machine's database server, and nothing is under way; nil is for any but some.
func (m *machine) routed(to *machine, not ...*machine) (master string) {
	m.t.Helper()
	m.until(2*time.Minute, "the proxies lead to the master", func(context.Context) error {
		status, err := m.status()
		if err != nil {
			return err
		}
		if len(status.Clusters) != 1 || len(status.Proxies) != 2 || status.Clusters[0].Recovery != "" || status.Clusters[0].Withdrawn {
			return fmt.Errorf("%+v", status)
		}
		for _, p := range status.Proxies {
			if !p.Confirmed {
				return fmt.Errorf("proxy %s: %s; %v", p.Name, p.Problem, status.Problems)
			}
		}
		master = status.Clusters[0].Master.String()
		if to != nil && master != to.key() || slices.ContainsFunc(not, func(m *machine) bool { return master == m.key() }) {
			return fmt.Errorf("the master is %s", master)
		}
		return nil
	})
	return master
}
