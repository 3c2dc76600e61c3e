// Package binlog reads transactions out of a server's binary log and writes
// them as SQL that a person can review and replay.
package binlog

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/link"
)

// Config is how to connect, and how much to write.
type Config struct {
	User string
	// Password returns the password; nil is none.
	Password func() string
	// TLS is nil for a plain connection.
	TLS *tls.Config
	// TLSOptional goes on without TLS where the server has none.
	TLSOptional bool
	// ConnectTimeout bounds each connection with its handshakes.
	ConnectTimeout time.Duration
	// MaxBytes bounds what is written; 0 is 64 MiB.
	MaxBytes int64
}

const (
	defaultMaxBytes = 64 << 20
	// silence is how long the server may send nothing before the end of its log.
	silence = 10 * time.Second
)

// Exporter writes transactions of servers as SQL.
type Exporter struct {
	cfg Config
	log *slog.Logger
}

// New returns an exporter.
func New(cfg Config, log *slog.Logger) *Exporter {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	return &Exporter{cfg: cfg, log: log}
}

// Summary is what an export wrote.
type Summary struct {
	Transactions, Rows int
	// Missing says why not everything could be written; empty where it was.
	Missing string
}

// Export writes, oldest first, the transactions of a server that are not in
// holds. It changes nothing on the server.
func (e *Exporter) Export(ctx context.Context, address topology.Key, holds gtid.Set, w io.Writer) (Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := link.Dial(ctx, link.Config{
		User: e.cfg.User, Password: e.cfg.Password, TLS: e.cfg.TLS, TLSOptional: e.cfg.TLSOptional,
		ConnectTimeout: e.cfg.ConnectTimeout,
	}, address)
	if err != nil {
		return Summary{}, fmt.Errorf("export the binary log of %s: %w", address, err)
	}
	defer conn.Close()
	x := &export{
		Exporter: e, address: address, conn: conn, holds: holds, flavor: mysql.MySQLFlavor,
		out: writer{w: w, left: e.cfg.MaxBytes}, tables: map[string]table{},
	}
	if holds.Flavor() == gtid.MariaDB {
		x.flavor = mysql.MariaDBFlavor
	}
	if x.encrypted, err = encrypted(ctx, conn); err != nil {
		return Summary{}, fmt.Errorf("export the binary log of %s: %w", address, err)
	}
	if err := x.run(ctx); err != nil && !errors.Is(err, errFull) {
		return x.summary, fmt.Errorf("export the binary log of %s: %w", address, err)
	} else if err != nil {
		x.summary.Missing = fmt.Sprintf("it is cut at %d bytes", e.cfg.MaxBytes)
		if _, err := fmt.Fprintf(w, "\n-- INCOMPLETE: %s\n", x.summary.Missing); err != nil {
			return x.summary, fmt.Errorf("write: %w", err)
		}
	}
	return x.summary, nil
}

// errFull ends an export that would grow beyond its bound.
var errFull = errors.New("the export is larger than allowed")

// writer counts down, and refuses what would pass the bound.
type writer struct {
	w    io.Writer
	left int64
}

func (w *writer) printf(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if w.left -= int64(len(text)); w.left < 0 {
		return errFull
	}
	if _, err := io.WriteString(w.w, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// export is one run.
type export struct {
	*Exporter
	address topology.Key
	conn    *link.Conn
	// encrypted is whether conn is, so that the reader's connection is too.
	encrypted bool
	holds     gtid.Set
	flavor    string
	out       writer
	summary   Summary
	tables    map[string]table
	// wanted is true within a transaction that is to be written, and open once
	// its BEGIN is.
	wanted, open bool
	// schema is the one that was last named by USE.
	schema string
}

// logFile is one of a server's binary logs.
type logFile struct {
	name string
	size uint64
}

func (x *export) run(ctx context.Context) error {
	files, err := x.files(ctx)
	if err != nil {
		return err
	}
	first, err := x.first(ctx, files)
	if err != nil {
		return err
	}
	if err := x.header(); err != nil {
		return err
	}
	return x.follow(ctx, files[first].name, files[len(files)-1], func(file string, ev *replication.BinlogEvent) error {
		return x.event(ctx, ev)
	})
}

func (x *export) files(ctx context.Context) ([]logFile, error) {
	sets, err := x.conn.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, fmt.Errorf("list its binary logs: %w", err)
	}
	var files []logFile
	for _, row := range sets[0] {
		size, err := strconv.ParseUint(row["File_size"], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the size of binary log %q: %w", row["Log_name"], err)
		}
		files = append(files, logFile{row["Log_name"], size})
	}
	if len(files) == 0 {
		return nil, errors.New("it has no binary logs")
	}
	return files, nil
}

// first finds the newest file before which nothing can be missing: at its
// beginning the server had only what is held. Where even the oldest one begins
// with more, what was purged is named as missing.
func (x *export) first(ctx context.Context, files []logFile) (int, error) {
	for n := len(files) - 1; n >= 0; n-- {
		before, err := x.before(ctx, files[n])
		if err != nil {
			return 0, err
		}
		if x.holds.Contains(before) {
			return n, nil
		}
		if n == 0 {
			x.summary.Missing = fmt.Sprintf("binary logs before %s were purged; gone with them: %s",
				files[0].name, before.Subtract(x.holds))
		}
	}
	return 0, nil
}

// before returns what the server had written when it began a file.
func (x *export) before(ctx context.Context, f logFile) (gtid.Set, error) {
	var set gtid.Set
	found := errors.New("found")
	err := x.follow(ctx, f.name, f, func(_ string, ev *replication.BinlogEvent) (err error) {
		switch body := ev.Event.(type) {
		case *replication.PreviousGTIDsEvent:
			if set, err = gtid.ParseMySQL(body.GTIDSets); err == nil {
				err = found
			}
			return err
		case *replication.MariadbGTIDListEvent:
			if set, err = x.list(body); err == nil {
				err = found
			}
			return err
		}
		return nil
	})
	if err != nil && !errors.Is(err, found) {
		return set, fmt.Errorf("the beginning of binary log %s: %w", f.name, err)
	}
	return set, nil
}

func (x *export) list(body *replication.MariadbGTIDListEvent) (gtid.Set, error) {
	var texts []string
	for _, g := range body.GTIDs {
		texts = append(texts, g.String())
	}
	return gtid.ParseMariaDB(0, texts...)
}

// follow reads a server's binary log from the beginning of one file to the end
// of another as it was listed, and hands every event over.
func (x *export) follow(ctx context.Context, from string, last logFile, handle func(file string, ev *replication.BinlogEvent) error) error {
	id, err := randomID()
	if err != nil {
		return err
	}
	cfg := replication.BinlogSyncerConfig{
		ServerID: id, Flavor: x.flavor, Host: x.address.Host, Port: x.address.Port, User: x.cfg.User,
		// Under the server's own name, so that nobody takes the reader for a replica
		// that has to be found.
		Localhost:               x.address.Host,
		TLSConfig:               x.tls(),
		TimestampStringLocation: time.UTC, ReadTimeout: silence, HeartbeatPeriod: silence / 4,
		DisableRetrySync: true, DumpCommandFlag: replication.BINLOG_DUMP_NEVER_STOP,
		Logger: slog.New(slog.DiscardHandler),
	}
	if x.cfg.Password != nil {
		cfg.Password = x.cfg.Password()
	}
	syncer := replication.NewBinlogSyncer(cfg)
	defer syncer.Close()
	stream, err := syncer.StartSync(mysql.Position{Name: from, Pos: 4})
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	file := from
	for {
		waiting, cancel := context.WithTimeout(ctx, silence)
		ev, err := stream.GetEvent(waiting)
		cancel()
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if rotate, ok := ev.Event.(*replication.RotateEvent); ok {
			file = string(rotate.NextLogName)
			continue
		}
		if err := handle(file, ev); err != nil {
			return err
		}
		if file == last.name && uint64(ev.Header.LogPos) >= last.size {
			return nil
		}
	}
}

func encrypted(ctx context.Context, conn *link.Conn) (bool, error) {
	row, err := conn.QueryRow(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	return row["Value"] != "", err
}

// tls is nil where a plain connection is to be used; whether the server has
// TLS was learned when the first connection was made.
func (x *export) tls() *tls.Config {
	if x.cfg.TLS == nil || (x.cfg.TLSOptional && !x.encrypted) {
		return nil
	}
	return x.cfg.TLS.Clone()
}

// randomID is a server id that none of the real servers has, in all likelihood.
func randomID() (uint32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("choose a server id: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:]) | 1<<31, nil
}
