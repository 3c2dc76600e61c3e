// Package sqlite keeps the records of the ledger in one SQLite file, together
// with the position in the raft log that they are at.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	sqlite3 "github.com/mattn/go-sqlite3"

	"switchyard/store/ledger"
)

var (
	// ErrDamaged is wrapped by every error that says that the file's content
	// cannot be trusted.
	ErrDamaged = errors.New("the file is damaged")
	// ErrNewer is wrapped by every error that says that a newer release wrote the
	// file, or what is in it.
	ErrNewer = errors.New("a newer release wrote it")
	// ErrFull is wrapped when there was no space.
	ErrFull = errors.New("there is no space left")
	// ErrForeign is wrapped when the file belongs to another ledger or node.
	ErrForeign = errors.New("the file belongs to another controller")
)

// Config names the file and whose it is.
type Config struct {
	Path string
	// LedgerID is the name of the ledger and NodeID that of this controller; a
	// file of another ledger or controller is refused.
	LedgerID string
	NodeID   string
}

// Position is an entry of the raft log.
type Position struct {
	Index uint64
	Term  uint64
}

// DB is the open file. It is used by one goroutine at a time.
type DB struct {
	path  string
	cfg   Config
	db    *sql.DB
	move  *sql.Stmt
	put   map[string]*sql.Stmt
	drop  map[string]*sql.Stmt
	clear map[string]*sql.Stmt
}

// families returns the tables that hold records. They are fixed words, never
// input: statements are built with them.
func families() []string {
	return []string{
		ledger.FamilyHeader, ledger.FamilyClusters, ledger.FamilyServers,
		ledger.FamilyRecoveries, ledger.FamilyConfirmations,
		ledger.FamilyDowntimes, ledger.FamilyRules, ledger.FamilyPauses, ledger.FamilyDatacenters,
		ledger.FamilyAudit,
	}
}

// Open opens or makes the file, brings its tables up to date and checks whose
// it is.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.Path, err)
	}
	// WAL with synchronous NORMAL: a commit does not wait for the disk. After a
	// loss of power the newest transactions may be missing, never torn, and raft
	// applies them again from its log, which is the durable one. OFF would spare
	// the sync of a checkpoint too, but could leave a file that is damaged.
	dsn := (&url.URL{Scheme: "file", Path: path}).String() +
		"?_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=2000&_txlock=immediate"
	pool, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool.SetMaxOpenConns(1)
	d := &DB{path: path, cfg: cfg, db: pool}
	if err := d.prepare(ctx, cfg); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return d, nil
}

func (d *DB) prepare(ctx context.Context, cfg Config) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	if err := d.claim(ctx, cfg); err != nil {
		return err
	}
	return d.prepareStatements(ctx)
}

// check reads the whole file: a page that is missing or of the wrong kind would
// otherwise be found in the middle of a recovery.
func (d *DB) check(ctx context.Context) error {
	var verdict string
	if err := d.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return d.explain("check", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check %s: %w: %s", d.path, ErrDamaged, verdict)
	}
	return d.checkSize(ctx)
}

// checkSize finds a last page that was cut: SQLite reads what is missing as
// zeros. Before the checkpoint the file may rightly be short, its newest pages
// being in the WAL.
func (d *DB) checkSize(ctx context.Context) error {
	if _, err := d.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return d.explain("check", err)
	}
	var pages, size int64
	row := d.db.QueryRowContext(ctx, "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
	if err := row.Scan(&pages, &size); err != nil {
		return d.explain("check", err)
	}
	file, err := os.Stat(d.path)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if file.Size() != pages*size {
		return fmt.Errorf("check %s: %w: it has %d bytes and should have %d", d.path, ErrDamaged, file.Size(), pages*size)
	}
	return nil
}

// claim marks a new file as this controller's, and refuses another's.
func (d *DB) claim(ctx context.Context, cfg Config) error {
	const insert = "INSERT INTO meta (only_row, ledger_id, node_id) VALUES (1, ?, ?) ON CONFLICT DO NOTHING"
	if _, err := d.db.ExecContext(ctx, insert, cfg.LedgerID, cfg.NodeID); err != nil {
		return d.explain("claim", err)
	}
	var ledgerID, nodeID string
	row := d.db.QueryRowContext(ctx, "SELECT ledger_id, node_id FROM meta WHERE only_row = 1")
	if err := row.Scan(&ledgerID, &nodeID); err != nil {
		return d.explain("claim", err)
	}
	if ledgerID != cfg.LedgerID {
		return fmt.Errorf("%s: %w: it is of the cluster of controllers %q, this one is of %q; "+
			"correct the name, or give this controller a data directory of its own",
			d.path, ErrForeign, ledgerID, cfg.LedgerID)
	}
	if nodeID != cfg.NodeID {
		return fmt.Errorf("%s: %w: it is the controller %q's, this one is %q; "+
			"correct the id, or give this controller a data directory of its own",
			d.path, ErrForeign, nodeID, cfg.NodeID)
	}
	return nil
}

func (d *DB) prepareStatements(ctx context.Context) error {
	d.put, d.drop, d.clear = map[string]*sql.Stmt{}, map[string]*sql.Stmt{}, map[string]*sql.Stmt{}
	prepare := func(into map[string]*sql.Stmt, family, query string) error {
		statement, err := d.db.PrepareContext(ctx, query)
		if err != nil {
			return d.explain("prepare", err)
		}
		into[family] = statement
		return nil
	}
	for _, family := range families() {
		err := errors.Join(
			prepare(d.put, family, "INSERT INTO "+family+
				" (key, record, sum) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record, sum = excluded.sum"),
			prepare(d.drop, family, "DELETE FROM "+family+" WHERE key = ?"),
			prepare(d.clear, family, "DELETE FROM "+family))
		if err != nil {
			return err
		}
	}
	move, err := d.db.PrepareContext(ctx, "UPDATE meta SET applied_index = ?, applied_term = ?, sum = ? WHERE only_row = 1")
	if err != nil {
		return d.explain("prepare", err)
	}
	d.move = move
	return nil
}

// Close ends the statements and the connection.
func (d *DB) Close() error {
	if err := d.db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", d.path, err)
	}
	return nil
}

// explain wraps an error of the driver, and marks those that mean damage.
func (d *DB) explain(doing string, err error) error {
	var from sqlite3.Error
	if errors.As(err, &from) {
		switch {
		case from.Code == sqlite3.ErrFull, from.SystemErrno == syscall.ENOSPC, from.SystemErrno == syscall.EFBIG,
			from.SystemErrno == syscall.EDQUOT:
			return fmt.Errorf("%s %s: %w: %w", doing, d.path, ErrFull, err)
		case from.Code == sqlite3.ErrCorrupt, from.Code == sqlite3.ErrNotADB,
			from.ExtendedCode == sqlite3.ErrIoErrShortRead:
			return fmt.Errorf("%s %s: %w: %w", doing, d.path, ErrDamaged, err)
		case from.Code == sqlite3.ErrError:
			// A statement of ours that does not fit the tables: they are not those
			// that the migrations made.
			return fmt.Errorf("%s %s: %w: %w", doing, d.path, ErrDamaged, err)
		}
	}
	return fmt.Errorf("%s %s: %w", doing, d.path, err)
}
