package tail

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"switchyard/controller/gtid"
)

// The fixtures are what a crash left of a small log: TestASmallLogIsRead records them.
var flavors = []string{"mariadb", "mysql"}

func fixture(t *testing.T, flavor string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", flavor+".binlog"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// logOf opens a log of these files.
func logOf(t *testing.T, files ...[]byte) *Log {
	t.Helper()
	dir := t.TempDir()
	var names strings.Builder
	for n, data := range files {
		name := "binlog.00000" + string(rune('1'+n))
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		names.WriteString("./" + name + "\n")
	}
	index := filepath.Join(dir, "binlog.index")
	if err := os.WriteFile(index, []byte(names.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(index, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// heldBefore is what the server had when it began the fixture's file.
func heldBefore(t *testing.T, data []byte) gtid.Set {
	t.Helper()
	l := logOf(t, data)
	s := &scan{ctx: t.Context(), part: part{logFile: l.files[0]}}
	if _, err := s.run(); err != nil || !s.begins {
		t.Fatalf("%v, begins: %t", err, s.begins)
	}
	return s.before
}

func read(t *testing.T, l *Log, holds gtid.Set) *Tail {
	t.Helper()
	found, err := l.Read(t.Context(), holds)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ends are where the transactions of a fixture end.
func ends(t *testing.T, data []byte) []int {
	t.Helper()
	found := read(t, logOf(t, data), heldBefore(t, data))
	if found.Problem != "" || found.Count < 7 {
		t.Fatalf("%d transactions, problem %q", found.Count, found.Problem)
	}
	var out []int
	for _, x := range found.files[0].transactions {
		out = append(out, int(x.to))
	}
	if last := out[len(out)-1]; last != len(data) {
		t.Fatalf("the last ends at %d of %d bytes", last, len(data))
	}
	return out
}

func upTo(ends []int, n int) (whole int) {
	for _, end := range ends {
		if end <= n {
			whole++
		}
	}
	return whole
}

// A file that a crash has torn has all the transactions that are whole in it, wherever it was torn.
func TestTornAtEveryByte(t *testing.T) {
	for _, flavor := range flavors {
		data := fixture(t, flavor)
		held, all := heldBefore(t, data), ends(t, data)
		first := read(t, logOf(t, data), held).files[0].transactions[0].from
		l := logOf(t, data)
		for n := range data {
			l.files[0].size = int64(n) // what is behind it is not there
			found, err := l.Read(t.Context(), held)
			switch {
			case err != nil && n >= int(first):
				t.Fatalf("%s torn at %d: %v", flavor, n, err)
			case err != nil: // not even what came before is known
			case found.Count != upTo(all, n) || found.Problem != "":
				t.Fatalf("%s torn at %d: %d transactions, want %d; problem %q", flavor, n, found.Count, upTo(all, n), found.Problem)
			}
		}
	}
}

// A byte that has changed lets no transaction through that it is in, nor any behind it.
func TestAChangedByteIsFound(t *testing.T) {
	for _, flavor := range flavors {
		data := fixture(t, flavor)
		held, all := heldBefore(t, data), ends(t, data)
		l := logOf(t, data)
		file, err := os.OpenFile(l.files[0].file.Name(), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		put := func(b byte, n int) {
			if _, err := file.WriteAt([]byte{b}, int64(n)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range data {
			if n == 4+17 {
				continue // the flag that the file is in use, which no checksum covers
			}
			put(data[n]^0x55, n)
			found, err := l.Read(t.Context(), held)
			put(data[n], n)
			if err != nil {
				continue
			}
			if found.Count > upTo(all, n) {
				t.Fatalf("%s changed at %d: %d transactions, %d are before it", flavor, n, found.Count, upTo(all, n))
			}
			// Only a length can pass for the end of the file.
			if found.Problem == "" && found.Count < len(all) && !inLength(data, n) {
				t.Fatalf("%s changed at %d: nothing is said", flavor, n)
			}
		}
	}
}

// inLength reports whether a byte is of an event's length.
func inLength(data []byte, n int) bool {
	for at := 4; at+headerSize <= len(data); at += int(binary.LittleEndian.Uint32(data[at+9:])) {
		if n >= at+9 && n < at+13 {
			return true
		}
	}
	return false
}

func TestWhatIsHeldIsLeftOut(t *testing.T) {
	for _, flavor := range flavors {
		data := fixture(t, flavor)
		held := heldBefore(t, data)
		whole := read(t, logOf(t, data), held)
		for n, x := range whole.files[0].transactions {
			one, err := through(x.name, x.name, whole.server)
			if err != nil {
				t.Fatal(err)
			}
			held = held.Union(one)
			rest := read(t, logOf(t, data), held)
			if rest.Count != whole.Count-n-1 || held.Contains(rest.Set) != (rest.Count == 0) || !whole.Set.Contains(rest.Set) {
				t.Fatalf("%s: %d are left of %d, with %s held", flavor, rest.Count, whole.Count, held)
			}
		}
	}
}

// withEvent is a fixture with one event more, behind its format.
func withEvent(data []byte, kind byte, body []byte) []byte {
	format := int(binary.LittleEndian.Uint32(data[4+9:]))
	raw := make([]byte, headerSize, headerSize+len(body)+checksumSize)
	raw[4] = kind
	raw = append(append(raw, body...), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(raw[len(raw)-4:], crc32.ChecksumIEEE(raw[:len(raw)-4]))
	out := append([]byte(nil), data[:4+format]...)
	return append(append(out, raw...), data[4+format:]...)
}

// What is not read is refused by name, before anything is given away.
func TestRefusals(t *testing.T) {
	maria, my := fixture(t, "mariadb"), fixture(t, "mysql")
	for want, files := range map[string][][]byte{
		"binlog.000001: it is encrypted (binlog_encryption)": {append([]byte("\xfdbin"), my[4:]...)},
		"binlog.000001: it is encrypted (encrypt_binlog)":    {withEvent(maria, encryptionEvent, make([]byte, 17))},
		"has no GTID":                {withEvent(my, anonymousEvent, make([]byte, 42))},
		"is in no transaction":       {withEvent(my, xidEvent, make([]byte, 8))},
		"this is no binary log":      {[]byte("not a log")},
		"were purged, and with them": {my},
		"is malformed":               {withEvent(my, gtidEvent, nil)},
	} {
		_, err := logOf(t, files...).Read(t.Context(), gtid.Set{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.index"), dir); err == nil || !strings.Contains(err.Error(), "the index of the binary log") {
		t.Errorf("%v", err)
	}
	index := filepath.Join(dir, "binlog.index")
	// The one was purged, the other was just being made.
	if err := os.WriteFile(index, []byte("./binlog.000001\n./binlog.0000"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(index, dir); err == nil || !strings.Contains(err.Error(), "names no file") {
		t.Errorf("%v", err)
	}
}

// What is written to a log, or deleted, after it was opened changes nothing in it.
func TestALogIsAsItWas(t *testing.T) {
	data := fixture(t, "mysql")
	held, all := heldBefore(t, data), ends(t, data)
	l := logOf(t, data[:all[2]])
	path := l.files[0].file.Name()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(data[all[2]:]); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if found := read(t, l, held); found.Count != 3 {
		t.Errorf("%d transactions, want 3", found.Count)
	}
}

// source serves a tail until the test ends.
func source(t *testing.T, found *Tail, until time.Time) (*Source, Grant) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	g := Grant{User: "tail", Password: "s3cret", Until: until, Tail: found}
	s.Give(g, time.Now())
	return s, g
}

// receive is what a replica gets that holds a set: its GTIDs, in order.
func receive(t *testing.T, s *Source, flavor, password, holds string, want int) (names []string, err error) {
	t.Helper()
	host, port := "127.0.0.1", s.Addr().(*net.TCPAddr).AddrPort().Port()
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 99, Flavor: flavor, Host: host, Port: port, User: "tail", Password: password, DisableRetrySync: true,
		Logger: slog.New(slog.DiscardHandler), VerifyChecksum: true,
	})
	defer syncer.Close()
	set, err := mysql.ParseGTIDSet(flavor, holds)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := syncer.StartSyncGTID(set)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(names) < want {
		ev, err := stream.GetEvent(ctx)
		if err != nil {
			return names, err
		}
		raw := event{raw: ev.RawData, kind: byte(ev.Header.EventType), sum: checksumSize}
		switch raw.kind {
		case gtidEvent, taggedEvent, mariaGTIDEvent:
			n, _, err := nameOf(raw)
			if err != nil {
				return names, err
			}
			one, err := through(n, n, 0)
			if err != nil {
				return names, err
			}
			names = append(names, one.String())
		}
	}
	return names, nil
}

func TestTheSource(t *testing.T) {
	for _, flavor := range flavors {
		data := fixture(t, flavor)
		held := heldBefore(t, data)
		found := read(t, logOf(t, data), held)
		s, g := source(t, found, time.Now().Add(time.Minute))
		names, err := receive(t, s, flavor, g.Password, held.String(), found.Count)
		if err != nil {
			t.Fatalf("%s: %v", flavor, err)
		}
		// One that lost its connection goes on after what it has.
		one := found.files[0].transactions[2].name
		has, err := through(found.files[0].transactions[0].name, one, 0)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := receive(t, s, flavor, g.Password, has.Union(held).Position(), found.Count-3)
		if err != nil || strings.Join(rest, " ") != strings.Join(names[3:], " ") {
			t.Errorf("%s: %v, then %v: %v", flavor, names, rest, err)
		}
		if _, err := receive(t, s, flavor, "wrong", held.String(), 1); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: with a wrong password: %v", flavor, err)
		}
	}
}

// Nothing is begun to be sent when the time is over.
func TestTheTimeOfATailIsOver(t *testing.T) {
	data := fixture(t, "mariadb")
	held := heldBefore(t, data)
	s, g := source(t, read(t, logOf(t, data), held), time.Now().Add(-linger+2*time.Second))
	if names, err := receive(t, s, "mariadb", g.Password, held.String(), 1); err == nil {
		t.Errorf("received %v", names)
	}
}
