package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate applies the numbered files that the database has not seen; SQLite's
// user_version is the number of the last one.
func (d *DB) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("migrate %s: %w", d.path, err)
	}
	slices.Sort(names)
	var version int
	if err := d.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return d.explain("migrate", err)
	}
	if version < 0 || version > len(names) {
		return fmt.Errorf("migrate %s: the file is at version %d and this release knows %d: %w; run that one",
			d.path, version, len(names), ErrNewer)
	}
	for number := version + 1; number <= len(names); number++ {
		if err := d.migrateTo(ctx, number, names[number-1]); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) migrateTo(ctx context.Context, number int, name string) error {
	script, err := migrations.ReadFile(name)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", d.path, err)
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return d.explain("migrate", err)
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return errors.Join(d.explain("migrate", err), tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(number)); err != nil {
		return errors.Join(d.explain("migrate", err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return d.explain("migrate", err)
	}
	return nil
}
