//go:build servers

package newcomer_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/stack"
)

// TestDayOfANewcomer follows the README's section for newcomers, and runs what it has and nothing else: three machines
// become a cluster with TLS, the master crashes, a machine is replaced, the controllers lose their data and are restored.
func TestDayOfANewcomer(t *testing.T) {
	s := openShop(t, 4)
	first, second, third, fourth := s.machines[0], s.machines[1], s.machines[2], s.machines[3]
	founders := s.machines[:3]

	s.makeSecrets()
	for _, m := range founders {
		m.equip()
		m.configure("")
		m.startDatabase()
	}
	s.found(first, second, third)
	for _, m := range founders {
		m.startController()
	}
	first.startProxy()
	second.startProxy()
	first.routed(first)
	s.look(first)
	first.writes(1)

	s.crash(first, second, third)
	s.replace(second, third, fourth)
	s.restore(first, second, fourth)
	s.guide.followed()
}

// makeSecrets has the first machine make what is made once.
func (s *shop) makeSecrets() {
	s.t.Helper()
	first := s.machines[0]
	first.run(s.guide.block("openssl req"))
	made, err := os.ReadFile(first.path(configDir + "/secrets"))
	s.must(err)
	var pairs []string
	for _, match := range regexp.MustCompile(`(?m)^export (\w+)=(\w+)$`).FindAllStringSubmatch(string(made), -1) {
		pairs = append(pairs, match[1], match[2])
	}
	if len(pairs) != 6 {
		s.t.Fatalf("the README's commands make %d secrets, want three", len(pairs)/2)
	}
	s.secrets = strings.NewReplacer(pairs...)
}

// equip gives a machine what the first one has made for it.
func (m *machine) equip() {
	m.t.Helper()
	first := m.machines[0]
	if m == first {
		return
	}
	for _, name := range []string{"ca.pem", "kim.token", "secrets", m.part("c") + ".pem", m.part("c") + "-key.pem"} {
		content, err := os.ReadFile(filepath.Join(first.path(configDir), name))
		m.must(err)
		m.must(os.WriteFile(filepath.Join(m.path(configDir), name), content, 0o600))
	}
}

// configure makes its configuration: the example, with the README's keys. More are those that a later step says.
func (m *machine) configure(more string) {
	m.t.Helper()
	m.run(m.guide.block(". /etc/switchyard/secrets"))
	example, err := os.ReadFile(m.path(configFile))
	m.must(err)
	text := edited(edited(string(example), m.own(m.guide.block("id: c1"))), more)
	m.must(os.WriteFile(m.path(configFile), []byte(m.here.Replace(text)), 0o600))
}

// startDatabase starts an empty MariaDB with the README's options; of the accounts that tests are used to, only the
// application's is left.
func (m *machine) startDatabase() {
	m.t.Helper()
	options := map[string]string{}
	for line := range strings.Lines(m.here.Replace(m.own(m.guide.block("[mysqld]")))) {
		if name, value, ok := strings.Cut(line, " = "); ok {
			options[name] = strings.TrimSpace(value)
		}
	}
	var err error
	m.db, err = m.stack.StartServer(m.ctx, stack.ServerSpec{Flavor: stack.MariaDB, ServerID: uint32(m.number), Name: m.part("db"), Options: options})
	m.must(err)
	m.must(m.db.Exec(m.ctx, "SET sql_log_bin = 0", "DROP USER 'switchyard'@'%', 'repl'@'%'"))
}

// query runs the README's SQL on its database server, with the secrets in place of their names.
func (m *machine) query(statements []string) {
	m.t.Helper()
	for i, statement := range statements {
		statements[i] = m.secrets.Replace(m.here.Replace(statement))
	}
	m.must(m.db.Exec(m.ctx, statements...))
}

// found makes the first machine the master of the others.
func (s *shop) found(first *machine, others ...*machine) {
	s.t.Helper()
	first.query(statements(s.guide.block("SET GLOBAL read_only = OFF")))
	first.query(s.guide.grants())
	for _, m := range others {
		m.follow(first)
	}
	s.must(first.db.Exec(s.ctx, "CREATE DATABASE "+stack.AppSchema, "CREATE TABLE "+stack.AppSchema+".orders (id INT PRIMARY KEY)"))
}

// follow makes it a replica of a master.
func (m *machine) follow(master *machine) {
	m.t.Helper()
	block := strings.Replace(m.guide.block("CHANGE MASTER TO"), readmeHost+"1", master.host.Address(), 1)
	m.query(statements(block))
	m.follows(master)
}

func (m *machine) follows(master *machine) {
	m.t.Helper()
	m.until(time.Minute, m.key()+" follows "+master.key(), func(ctx context.Context) error {
		status, err := m.db.ReplicaStatus(ctx)
		if err == nil && (!status.Running() || status.SourceHost != master.host.Address()) {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
}

func (m *machine) startController() {
	m.t.Helper()
	command := m.guide.block("switchyard controller --config")
	if m.controller != nil {
		m.must(m.controller.Start(m.ctx))
		return
	}
	m.controller = m.serve(m.part("c"), command)
}

func (m *machine) startProxy() {
	m.t.Helper()
	lines := strings.SplitAfter(strings.TrimSpace(m.own(m.guide.block("switchyard haproxy config"))), "\n")
	if len(lines) != 2 {
		m.t.Fatalf("the README's commands for HAProxy are %q: want one that makes the file, and one that runs it", lines)
	}
	m.run(lines[0])
	m.proxy = m.serve(m.part("ha"), lines[1])
}

// look runs what an operator looks with.
func (s *shop) look(m *machine) {
	s.t.Helper()
	for _, command := range []string{"switchyard status", "switchyard topology shop", "switchyard explain shop", "switchyard controllers list"} {
		s.until(time.Minute, command+" says something", func(context.Context) error {
			said, err := m.try(m.operator(s.guide.line(command)))
			if name := s.machines[0].key(); err == nil && strings.Contains(command, "topology") && !strings.Contains(said, name) {
				err = fmt.Errorf("it does not show %s: %s", name, said)
			}
			return err
		})
	}
	s.until(time.Minute, "nobody is served without a token", func(context.Context) error {
		said, err := m.try(strings.Replace(m.operator("switchyard status"), "SWITCHYARD_TOKEN_FILE", "NOTHING", 1))
		if err == nil || !strings.Contains(said, "wants a token") {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	})
}

// writes has an application write a row through the machine's HAProxy, as soon as that can be.
func (m *machine) writes(id int) {
	m.t.Helper()
	account := stack.AppAccount()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName, cfg.Net = account.User, account.Password, stack.AppSchema, "tcp"
	cfg.Addr, cfg.Timeout, cfg.ReadTimeout = m.host.Address()+":3307", 10*time.Second, 10*time.Second
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	m.must(err)
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	m.until(time.Minute, "the application writes", func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, fmt.Sprintf("REPLACE INTO orders VALUES (%d)", id))
		return err
	})
}

// has waits until its database server has so many of the rows.
func (m *machine) has(rows int) {
	m.t.Helper()
	m.until(time.Minute, fmt.Sprintf("%s has %d rows", m.key(), rows), func(ctx context.Context) error {
		count, err := m.db.Value(ctx, "SELECT COUNT(*) FROM "+stack.AppSchema+".orders")
		if err == nil && count != fmt.Sprint(rows) {
			err = errors.New(count)
		}
		return err
	})
}

// crash kills the first machine's MariaDB, which is the master. It comes back as a replica.
func (s *shop) crash(first, second, third *machine) {
	s.t.Helper()
	for _, m := range []*machine{second, third} {
		m.has(1)
		s.must(stack.WaitCaughtUp(s.ctx, m.db, first.db))
	}
	s.must(first.db.Kill())
	if first.routed(nil, first) != second.key() { // the other one is wanted less, and was nevertheless fitter
		s.switchover(first, second)
	}
	second.writes(2)
	s.must(first.db.Start(s.ctx))
	for _, m := range []*machine{first, third} {
		m.follows(second)
		m.has(2)
	}
}

// replace loses a machine for good, and has a new one in its place.
func (s *shop) replace(master, old, next *machine) {
	s.t.Helper()
	s.must(old.db.Kill())
	s.must(old.controller.Kill())
	maker := s.guide.block("openssl req")
	maker = maker[strings.Index(maker, "certificate() {"):]
	maker = maker[:strings.Index(maker, "\n}\n")+3]
	s.machines[0].run(maker + s.guide.says("certificate c4 10.0.0.4"))
	next.equip()
	s.guide.says("id: c4")
	next.configure(s.controllers(s.guide.block("- {id: c4,")) + s.guide.says("join: true") + "\n")
	next.startController()
	s.until(time.Minute, "the new controller waits", func(ctx context.Context) error {
		conn, err := master.host.Dial(ctx, "tcp", next.host.Address()+":7400")
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	add, remove, _ := strings.Cut(strings.TrimSpace(s.guide.block("switchyard controllers add")), "\n")
	master.tell(add, master.votes("c4", true))
	master.tell(remove, master.votes("c3", false))
	s.three(master, "c1", "c2", "c4")
	next.startDatabase()
	next.follow(master)
	next.has(2)
	// All files name those that there are, and so does the operator.
	set := s.controllers(s.guide.block("- {id: c4,"), "c3")
	for _, m := range []*machine{s.machines[0], master, next} {
		m.configure(set)
	}
	address := func(m *machine) string { return fmt.Sprintf("%s%d:", readmeHost, m.number) }
	s.present = strings.NewReplacer(address(old), address(next))
	s.three(next, "c1", "c2", "c4")
}

// controllers is the README's list, with one more and without some.
func (s *shop) controllers(more string, without ...string) string {
	s.t.Helper()
	all := sections(s.guide.block("id: c1"))
	i := slices.IndexFunc(all, func(section string) bool { return keyOf(section) == "controllers" })
	if i < 0 {
		s.t.Fatal("the README's keys have no controllers")
	}
	var list strings.Builder
	for line := range strings.Lines(all[i] + more) {
		if !slices.ContainsFunc(without, func(id string) bool { return strings.Contains(line, "id: "+id+",") }) {
			list.WriteString(line)
		}
	}
	return list.String()
}

// controllersList is what `switchyard controllers list` says.
func (m *machine) controllersList() (all wire.Controllers, err error) {
	said, err := m.try(m.operator("switchyard controllers list --format json"))
	if err == nil {
		err = json.Unmarshal([]byte(said), &all)
	}
	return all, err
}

// votes asks whether a controller votes, or does not, and no change is under way.
func (m *machine) votes(id string, wanted bool) func() bool {
	return func() bool {
		all, err := m.controllersList()
		return err == nil && all.Change == nil && wanted == slices.ContainsFunc(all.Controllers, func(c wire.ControllerAccount) bool {
			return c.ID == id && c.Role == wire.Voter
		})
	}
}

// three holds that these vote, and answer.
func (s *shop) three(m *machine, ids ...string) {
	s.t.Helper()
	s.until(time.Minute, "the controllers are "+strings.Join(ids, ", "), func(context.Context) error {
		all, err := m.controllersList()
		if err != nil {
			return err
		}
		var voters []string
		for _, c := range all.Controllers {
			if c.Role == wire.Voter && c.Reachable {
				voters = append(voters, c.ID)
			}
		}
		if slices.Sort(voters); !slices.Equal(voters, ids) || all.Voters != len(ids) || all.Change != nil {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

// restore loses the data of all controllers, and goes back to a backup that does not know the last switchover.
func (s *shop) restore(first, master, fourth *machine) {
	s.t.Helper()
	controllers := []*machine{first, master, fourth}
	first.tell(s.guide.says("switchyard backup --out ledger.backup"), nil)
	s.switchover(first, first)
	for _, m := range controllers {
		s.must(m.controller.Stop(s.ctx))
	}
	backup, err := os.ReadFile(filepath.Join(first.path(configDir), "ledger.backup"))
	s.must(err)
	generation := ""
	for _, m := range controllers {
		s.must(os.WriteFile(filepath.Join(m.path(configDir), "ledger.backup"), backup, 0o600))
		said := m.run(strings.TrimSpace(s.guide.block("mv "+dataDir)) + generation)
		if _, number, ok := strings.Cut(said, "--generation "); ok && generation == "" {
			generation = " " + s.guide.says("--generation") + " " + strings.Fields(number)[0]
		}
	}
	for _, m := range controllers {
		m.startController()
	}
	s.until(time.Minute, "the cluster is held", func(context.Context) error {
		status, err := master.status()
		if err == nil && !strings.Contains(strings.Join(status.Problems, "\n"), "switchyard adopt") {
			err = fmt.Errorf("%q", status.Problems)
		}
		return err
	})
	adopt := strings.Replace(s.guide.block("switchyard adopt"), readmeHost+"2", first.host.Address(), 1)
	master.tell(adopt, func() bool {
		status, err := master.status()
		return err == nil && len(status.Clusters) == 1
	})
	master.routed(first)
	s.three(master, "c1", "c2", "c4")
	s.switchover(master, master)
	master.writes(3)
	fourth.follows(master)
	fourth.has(3)
}

// switchover moves the master to a machine; a server that has just come back is compared first.
func (s *shop) switchover(operator, to *machine) {
	s.t.Helper()
	command := strings.Replace(s.guide.line("switchyard switchover shop --to"), "db2:3306", to.key(), 1)
	s.until(2*time.Minute, "the master is moved", func(context.Context) error {
		if status, err := operator.status(); err == nil && len(status.Clusters) == 1 && status.Clusters[0].Master.String() == to.key() {
			return nil
		}
		_, err := operator.try(operator.operator(command))
		return err
	})
	operator.routed(to)
}
