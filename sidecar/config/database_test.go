package config

import (
	"strings"
	"testing"
	"time"
)

const withDatabase = `name: db-a
datacenter: dc1
state_dir: state
listen: 127.0.0.1:8811
secret: s3cret
controllers: [{id: c1, http: "http://127.0.0.1:1"}]
`

// exampleDatabase is the example without its comment signs.
func exampleDatabase() string {
	var lines []string
	for _, line := range strings.Split(ExampleDatabase, "\n") {
		lines = append(lines, strings.TrimPrefix(line, "#"))
	}
	return withDatabase + strings.Join(lines[1:], "\n")
}

func read(text string) (*File, error) {
	return parse("/etc/sidecar.yaml", []byte(text), func(string) (string, bool) { return "from-env", true })
}

func TestDatabaseExample(t *testing.T) {
	f, err := read(exampleDatabase())
	if err != nil {
		t.Fatal(err)
	}
	d := f.Database
	if d.Cluster != "shop" || d.Password.Reveal() != "from-env" || len(d.Peers) != 2 || d.Renew != time.Second || d.Tie {
		t.Errorf("%+v", d)
	}
}

func TestDatabaseDefaults(t *testing.T) {
	f, err := read(withDatabase + `database: {cluster: shop, server: "DB-a.:3306", socket: run/s, user: u, password: p, keep_users: [c]}`)
	if err != nil {
		t.Fatal(err)
	}
	d := f.Database
	if d.Renew != time.Second || d.Fence != time.Second || d.Kill != time.Second || d.Tie || d.Socket != "/etc/run/s" || d.Server != "db-a:3306" {
		t.Errorf("%+v", d)
	}
}

func TestDatabaseMistakes(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"  cluster: shop\n", "", "database.cluster: is missing"},
		{"server: db-a.example:3306", "server: db-a.example", `database.server (line 11): is "db-a.example"; want HOST:PORT`},
		{"server: db-a.example:3306", "server: 0.0.0.0:3306", "nobody can connect to"},
		{"socket: /run/mysqld/mysqld.sock", "socket: ''", "database.socket (line 12): is empty; name the server's unix socket"},
		{"user: sidecar", "user: ''", "database.user"},
		{"keep_users: [switchyard]", "keep_users: []", "name the controllers' account at least"},
		{"renew: 1s", "renew: 1ms", "database.renew (line 26): is 1ms; want 50ms to 10s"},
		{"fence: 1s", "fence: 2m", "database.fence"},
		{"kill: 1s", "kill: 1ns", "database.kill"},
		{"name: db-c", "name: db-b", "database.peers[1].name (line 25): is db-b, as database.peers[0].name is"},
		{"name: db-c", "name: db-a", "is db-a, as name is"},
		{"http://db-c.example:8811", "db-c.example:8811", "database.peers[1].http (line 25): is not of the form"},
	} {
		text := exampleDatabase()
		if !strings.Contains(text, test.old) {
			t.Fatalf("the example has no %q", test.old)
		}
		_, err := read(strings.Replace(text, test.old, test.new, 1))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", test.new, err, test.want)
		}
	}
}

func TestTieWantsAShortSocket(t *testing.T) {
	text := strings.Replace(exampleDatabase(), "tie: false", "tie: true", 1)
	if _, err := read(text); err != nil {
		t.Fatal(err)
	}
	_, err := read(strings.Replace(text, "state_dir: state", "state_dir: "+strings.Repeat("a", 100), 1))
	if err == nil || !strings.Contains(err.Error(), "state_dir (line 3): is too long for database.tie") {
		t.Errorf("%v", err)
	}
}
