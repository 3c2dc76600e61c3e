//go:build servers

package binlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/binlog"
	"switchyard/integrations/mysql/link"
	"switchyard/integrations/mysql/probe"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func config() link.Config {
	account := stack.ControllerAccount()
	return link.Config{User: account.User, Password: func() string { return account.Password }}
}

func key(t *testing.T, server *stack.Server) topology.Key {
	t.Helper()
	k, err := topology.ParseKey(server.Key())
	must(t, err)
	return k
}

func executed(t *testing.T, ctx context.Context, server *stack.Server) gtid.Set {
	t.Helper()
	p := probe.New(probe.Config{User: config().User, Password: config().Password}, nil)
	defer p.Close()
	i, err := p.Probe(ctx, key(t, server))
	must(t, err)
	return i.Executed
}

const types = "id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, a TINYINT UNSIGNED, b BIGINT UNSIGNED, c MEDIUMINT, d DECIMAL(20,5), " +
	"e DOUBLE, f VARCHAR(80) CHARACTER SET utf8mb4, g VARCHAR(40) CHARACTER SET latin1, h VARBINARY(40), i BLOB, " +
	"j TEXT CHARACTER SET utf8mb4, k DATETIME(6), l TIMESTAMP(3) NULL, m ENUM('x','y'), n SET('p','q','r'), o BIT(12), p DATE, q TIME, " +
	"r YEAR, `odd ``name` INT"

// extras are what only the old master has: all kinds of changes and of values.
func extras() []string {
	return []string{
		"INSERT INTO app.kinds VALUES (7, 255, 18446744073709551615, -8388608, -12345.67890, 1.25e-7, 'it''s \\\\ \u00fc\u20ac\\n;-- x', 'caf\u00e9', " +
			"x'00ff27', x'0a5c00', 'long \u2028 text', '2026-02-03 04:05:06.789012', '2026-02-03 04:05:06.789', 'y', 'p,r', b'101010101010', " +
			"'2024-02-29', '-12:34:56', 2031, -5)",
		"INSERT INTO app.kinds (id) VALUES (8)",
		"FLUSH BINARY LOGS",
		"UPDATE app.kinds SET a = 200, f = NULL, n = 'q' WHERE id = 1",
		"DELETE FROM app.kinds WHERE id = 2",
		"UPDATE app.keyless SET v = v + 1 WHERE v = 2",
		"DELETE FROM app.keyless WHERE v = 1",
		"CREATE TABLE app.fresh (id INT PRIMARY KEY, v VARCHAR(10))",
		"FLUSH BINARY LOGS",
		"INSERT INTO app.fresh VALUES (1, 'one'), (2, NULL)",
	}
}

// What is exported of an old master makes another server equal to it again.
func TestWhatIsExportedCanBeReplayed(t *testing.T) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			s, err := stack.New(ctx, stack.Options{})
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{})
			must(t, err)
			old, other := cluster.Master, cluster.Replicas[0]
			must(t, old.Exec(ctx, "CREATE TABLE app.kinds ("+types+")", "CREATE TABLE app.keyless (v INT, w VARCHAR(10))",
				"INSERT INTO app.kinds (id, a, f) VALUES (1, 3, 'before'), (2, 4, 'gone'), (3, 5, 'stays')",
				"INSERT INTO app.keyless VALUES (1, 'a'), (2, NULL), (2, 'b'), (3, 'c')", "FLUSH BINARY LOGS"))
			must(t, stack.WaitCaughtUp(ctx, other, old))
			holds := executed(t, ctx, other)
			must(t, other.Exec(ctx, detach(flavor)...))
			must(t, old.Exec(ctx, extras()...))

			var out strings.Builder
			summary, err := binlog.New(binlog.Config{User: config().User, Password: config().Password},
				slog.New(slog.DiscardHandler)).Export(ctx, key(t, old), holds, &out)
			if err != nil || summary.Missing != "" {
				t.Fatalf("%+v, %v\n%s", summary, err, out.String())
			}
			extra := executed(t, ctx, old).Subtract(holds)
			if summary.Transactions == 0 || flavor != stack.MariaDB && uint64(summary.Transactions) != extra.Count() {
				t.Errorf("%d transactions, want those of %s\n%s", summary.Transactions, extra, out.String())
			}
			replay(t, ctx, other, out.String())
			for _, table := range []string{"kinds", "keyless", "fresh"} {
				want, got := rows(t, ctx, old, table), rows(t, ctx, other, table)
				if want != got || want == "" {
					t.Errorf("table %s has\n%s\nwant\n%s\nby\n%s", table, got, want, out.String())
				}
			}
		})
	}
}

func detach(flavor stack.Flavor) []string {
	if flavor == stack.MySQL {
		return []string{"STOP REPLICA", "RESET REPLICA ALL"}
	}
	return []string{"STOP SLAVE", "RESET SLAVE ALL"}
}

// replay does what a person would: it feeds the file to the server.
func replay(t *testing.T, ctx context.Context, server *stack.Server, text string) {
	t.Helper()
	root, err := server.Root().Conn(ctx)
	must(t, err)
	defer func() { must(t, root.Close()) }()
	for _, statement := range strings.Split(text, ";\n") {
		var code []string
		for _, line := range strings.Split(statement, "\n") {
			if !strings.HasPrefix(line, "--") && strings.TrimSpace(line) != "" {
				code = append(code, line)
			}
		}
		if len(code) == 0 {
			continue
		}
		if _, err := root.ExecContext(ctx, strings.Join(code, "\n")); err != nil {
			t.Fatalf("%s: %v", strings.Join(code, "\n"), err)
		}
	}
}

func rows(t *testing.T, ctx context.Context, server *stack.Server, table string) string {
	t.Helper()
	columns, err := server.Value(ctx, fmt.Sprintf("SELECT GROUP_CONCAT(CONCAT('IFNULL(HEX(`', REPLACE(COLUMN_NAME, '`', '``'), '`), ''-'')') "+
		"ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'app' AND TABLE_NAME = '%s'", table))
	must(t, err)
	text, err := server.Value(ctx, fmt.Sprintf("SELECT GROUP_CONCAT(r ORDER BY r SEPARATOR '\n') FROM (SELECT CONCAT_WS(' ', %s) AS r FROM app.%s) x", columns, table))
	must(t, err)
	return text
}

// What was purged from the binary log is named, and the rest is still written.
func TestPurgedLogsAreNamed(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			s, err := stack.New(ctx, stack.Options{})
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			cluster, err := s.Topology(ctx, flavor, 0, stack.TopologyOptions{})
			must(t, err)
			old := cluster.Master
			must(t, old.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)"))
			holds := executed(t, ctx, old)
			must(t, old.Exec(ctx, "INSERT INTO app.t VALUES (1)", "FLUSH BINARY LOGS"))
			conn, err := link.Dial(ctx, config(), key(t, old))
			must(t, err)
			defer conn.Close()
			logs, err := conn.Query(ctx, "SHOW BINARY LOGS")
			must(t, err)
			must(t, old.Exec(ctx, "INSERT INTO app.t VALUES (2)",
				fmt.Sprintf("PURGE BINARY LOGS TO '%s'", logs[0][len(logs[0])-1]["Log_name"])))
			var out strings.Builder
			summary, err := binlog.New(binlog.Config{User: config().User, Password: config().Password},
				slog.New(slog.DiscardHandler)).Export(ctx, key(t, old), holds, &out)
			must(t, err)
			if summary.Missing == "" || !strings.Contains(out.String(), "INCOMPLETE") || summary.Transactions != 1 ||
				!strings.Contains(out.String(), "VALUES (2)") || strings.Contains(out.String(), "VALUES (1)") {
				t.Errorf("%+v\n%s", summary, out.String())
			}
		})
	}
}
