package dialect

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

func TestDetect(t *testing.T) {
	tests := []struct{ version, comment, want string }{
		{"10.11.19-MariaDB-0+deb12u1-log", "Debian 12", "mariadb-10.11"},
		{"5.5.5-10.11.2-MariaDB", "", "mariadb-10.11"},
		{"11.4.2", "MariaDB Server", "mariadb-10.11"},
		{"10.6.16-MariaDB", "", "mariadb-10.5.2"},
		{"10.5.1-MariaDB", "", "mariadb-10.1"},
		{"9.7.4-2", "(Debian)", "mysql-8.2"},
		{"8.4.0", "MySQL Community Server - GPL", "mysql-8.2"},
		{"8.0.35-27", "Percona Server (GPL)", "mysql-8.0.26"},
		{"8.0.25", "", "mysql-8.0.11"},
		{"5.7.44-log", "", "mysql-5.7.8"},
		{"5.6.24-log", "MySQL Community Server (GPL)", "mysql-5.6"},
		{"5.6", "", "mysql-5.6"},
	}
	for _, test := range tests {
		d, err := Detect(test.version, test.comment)
		if err != nil || d.Name != test.want {
			t.Errorf("Detect(%q, %q) = %q, %v; want %q", test.version, test.comment, d.Name, err, test.want)
		}
	}
}

func TestDetectRefusesWhatIsTooOldOrNoVersion(t *testing.T) {
	for _, version := range []string{"5.5.62", "10.0.38-MariaDB", "", "eight", "99999999.1", strings.Repeat("x", 1000)} {
		d, err := Detect(version, "")
		if err == nil {
			t.Errorf("Detect(%.20q) = %q, want an error", version, d.Name)
		} else if len(err.Error()) > 200 {
			t.Errorf("Detect(%.20q): the error repeats the whole text", version)
		}
	}
}

// TestStatements holds every statement of every dialect; -update writes them.
func TestStatements(t *testing.T) {
	for _, d := range Table() {
		t.Run(d.Name, func(t *testing.T) {
			path := filepath.Join("testdata", d.Name+".sql")
			got := script(t, d)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("statements differ from %s (go test -update, then read the difference):\n%s", path, got)
			}
		})
	}
}

var update = flag.Bool("update", false, "write the golden files")

func script(t *testing.T, d Dialect) string {
	t.Helper()
	p := Pointer{
		Host: "db1.example.com", Port: 3307, User: "repl", Password: `it's a \ secret`, ConnectRetry: time.Second,
		RetryCount: 86400, Heartbeat: 500 * time.Millisecond,
	}
	secure := p
	secure.TLS, secure.CA, secure.Cert, secure.Key = TLSVerify, "/tls/ca.pem", "/tls/cert.pem", "/tls/key.pem"
	plain := p
	plain.TLS, plain.ConnectRetry = TLSOff, time.Millisecond
	must := func(statement string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return statement
	}
	var b strings.Builder
	add := func(name, statement string) { fmt.Fprintf(&b, "-- %s\n%s;\n", name, statement) }
	for _, q := range d.Questions() {
		add("probe: "+q.Name, q.SQL)
	}
	for _, q := range d.SlowQuestions() {
		add("now and then: "+q.Name, q.SQL)
	}
	beat, err := d.Beat("switchyard", "c1")
	if err != nil {
		t.Fatal(err)
	}
	add("write: vitals", d.Vitals())
	add("write: prepare", beat.Prepare())
	add("write: create", beat.Create())
	add("write", beat.Write())
	add("write: log", beat.Log())
	for _, statement := range beat.Space() {
		add("write: space", statement)
	}
	add("tripwire", d.Tripwire())
	add("executed", d.Executed())
	add("stop receiver", d.StopReceiver())
	add("start receiver", d.StartReceiver())
	add("start applier", d.StartApplier())
	add("stop applier", d.StopApplier())
	add("undelay, receiving", must(d.Undelay(true, "relay.000002", 432)))
	add("undelay, stopped", must(d.Undelay(false, "relay.000002", 432)))
	add("stop", d.Stop())
	add("start", d.Start())
	add("reset", d.Reset())
	add("wait", must(d.Wait("0-1-2", 250*time.Millisecond)))
	add("adopt own writes", d.AdoptOwnWrites())
	add("change source", must(d.ChangeSource(p)))
	add("change source, TLS", must(d.ChangeSource(secure)))
	add("change source, no TLS", must(d.ChangeSource(plain)))
	add("heartbeat", d.Heartbeat)
	add("read-only", d.ReadOnly(true))
	add("writable", d.ReadOnly(false))
	add("read-only?", d.ReadOnlyState())
	add("sessions", d.Sessions)
	return b.String()
}

func TestChangeSourceRefuses(t *testing.T) {
	good := Pointer{Host: "h", Port: 1, User: "u", Password: "geheim\x00wort"}
	for name, change := range map[string]func(*Pointer){
		"no host": func(p *Pointer) { p.Password, p.Host = "", "" },
		"no port": func(p *Pointer) { p.Password, p.Port = "", 0 },
		"NUL":     func(*Pointer) {},
		"TLS":     func(p *Pointer) { p.Password, p.TLS = "", "sometimes" },
		"UTF-8":   func(p *Pointer) { p.Password = "geheim\xff" },
	} {
		for _, d := range Table() {
			p := good
			change(&p)
			statement, err := d.ChangeSource(p)
			if err == nil {
				t.Errorf("%s, %s: got %q, want an error", d.Name, name, statement)
			} else if strings.Contains(err.Error(), "geheim") {
				t.Errorf("%s, %s: the error shows the password: %v", d.Name, name, err)
			}
		}
	}
}

// literal reads one string literal as the server's lexer does, and returns its
// value and what follows it.
func literal(text string, backslashEscapes bool) (value, rest string, ok bool) {
	if text == "" || text[0] != '\'' {
		return "", text, false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && backslashEscapes:
			i++
			if i == len(text) {
				return "", "", false
			}
			b.WriteByte(text[i]) // none of \n, \t and the like comes out of Quote
		case text[i] == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
			b.WriteByte('\'')
		case text[i] == '\'':
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", false
}

func checkQuote(t interface {
	Helper()
	Fatalf(string, ...any)
}, value string,
) {
	t.Helper()
	quoted, err := Quote("value", value)
	if err != nil {
		return
	}
	got, rest, ok := literal(quoted, true)
	if !ok || rest != "" || got != value {
		t.Fatalf("%q reads as %q, rest %q, want %q", quoted, got, rest, value)
	}
	got, rest, ok = literal(quoted, false)
	if !ok || rest != "" || got != strings.ReplaceAll(value, `\`, `\\`) {
		t.Fatalf("with NO_BACKSLASH_ESCAPES %q reads as %q, rest %q: it ends too early", quoted, got, rest)
	}
}

func TestQuoteIsOneLiteral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkQuote(t, rapid.StringOf(rapid.SampledFrom([]rune(`'\";-# aé☃`))).Draw(t, "value"))
	})
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "'", `\`, `\'`, `'; DROP TABLE t; -- `, "\x00", "\xbf'", "a\\", `''\\''`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) { checkQuote(t, value) })
}

func TestQuoteRefuses(t *testing.T) {
	for _, value := range []string{"a\x00b", "a\nb", "a\rb", "a\x1ab", "a\xbf'"} {
		if quoted, err := Quote("password", value); err == nil {
			t.Errorf("Quote(%q) = %q, want an error", value, quoted)
		} else if !strings.HasPrefix(err.Error(), "password: ") {
			t.Errorf("Quote(%q): %v does not name the value", value, err)
		}
	}
}

func TestParseStatus(t *testing.T) {
	old, err := Detect("5.6.24", "")
	if err != nil {
		t.Fatal(err)
	}
	row := map[string]string{
		"Master_Host": "db1", "Master_Port": "3306", "Slave_IO_Running": "Connecting", "Slave_SQL_Running": "No",
		"Last_SQL_Errno": "1062", "Last_SQL_Error": "duplicate", "Auto_Position": "1", "Master_Log_File": "bin.1",
		"Read_Master_Log_Pos": "4", "Connect_Retry": "60", "Master_Retry_Count": "10",
	}
	s, err := old.ParseStatus(1, row)
	if err != nil {
		t.Fatal(err)
	}
	if s.Source != (topology.Key{Host: "db1", Port: 3306}) || s.IO != topology.ThreadConnecting ||
		s.SQL != topology.ThreadStopped || s.SQLErrno != 1062 || !s.UsesGTID || s.ReceivedTo != "bin.1:4" ||
		s.AppliedTo != "" || s.Lag != nil || s.ConnectRetry != time.Minute || s.RetryCount != 10 {
		t.Errorf("got %+v", s)
	}
	row["Seconds_Behind_Master"] = "0"
	if s, err = old.ParseStatus(1, row); err != nil || s.Lag == nil || *s.Lag != 0 {
		t.Errorf("with lag 0: got %+v, %v", s, err)
	}
	for column, value := range map[string]string{
		"Master_Port": "70000", "Retrieved_Gtid_Set": "rubbish", "Seconds_Behind_Master": "NaN", "SQL_Delay": "1e300",
	} {
		bad := map[string]string{"Master_Host": "db1", column: value}
		if s, err := old.ParseStatus(1, bad); err == nil {
			t.Errorf("%s = %q: got %+v, want an error", column, value, s)
		}
	}
	if s, err := old.ParseStatus(1, map[string]string{"Master_Host": ""}); s != nil || err != nil {
		t.Errorf("without a source: got %+v, %v", s, err)
	}
}

func TestParseStatusMariaDB(t *testing.T) {
	d, err := Detect("10.11.19-MariaDB", "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.ParseStatus(2, map[string]string{
		"Connection_name": "", "Master_Host": "db1", "Master_Port": "3306", "Using_Gtid": "Slave_Pos",
		"Gtid_IO_Pos": "0-1-7", "Slave_received_heartbeats": "3", "Slave_heartbeat_period": "0.500",
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := gtid.ParseMariaDB(2, "0-1-7")
	if err != nil {
		t.Fatal(err)
	}
	if !s.UsesGTID || s.Received.String() != want.String() || s.Heartbeat != "3" ||
		s.HeartbeatPeriod != 500*time.Millisecond {
		t.Errorf("got %+v", s)
	}
}

func TestBeatRefuses(t *testing.T) {
	for _, schema := range []string{"", "a`b", "a.b", "../x", "a\x00"} {
		if beat, err := Table()[0].Beat(schema, "c1"); err == nil {
			t.Errorf("schema %q: got %q, want an error", schema, beat.Create())
		}
	}
	if beat, err := Table()[0].Beat("ours", "c\x00"); err == nil {
		t.Errorf("writer with NUL: got %q, want an error", beat.Write())
	}
}
