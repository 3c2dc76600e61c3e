package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Write stores the changes of one or more commands and the position that they
// lead to, all or nothing.
func (d *DB) Write(ctx context.Context, changes []ledger.Change, at Position) error {
	return d.within(ctx, "write", func(tx *sql.Tx) error {
		if err := d.store(ctx, tx, changes); err != nil {
			return err
		}
		return d.moveTo(ctx, tx, at)
	})
}

// Replace stores a whole state in the place of what was there.
func (d *DB) Replace(ctx context.Context, s ledger.State, at Position) error {
	return d.within(ctx, "replace", func(tx *sql.Tx) error {
		for _, family := range families() {
			if _, err := tx.StmtContext(ctx, d.clear[family]).ExecContext(ctx); err != nil {
				return err
			}
		}
		if err := d.store(ctx, tx, whole(s)); err != nil {
			return err
		}
		return d.moveTo(ctx, tx, at)
	})
}

func (d *DB) within(ctx context.Context, doing string, work func(*sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return d.explain(doing, err)
	}
	if err := work(tx); err != nil {
		return errors.Join(d.explain(doing, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return d.explain(doing, err)
	}
	return nil
}

func (d *DB) moveTo(ctx context.Context, tx *sql.Tx, at Position) error {
	_, err := tx.StmtContext(ctx, d.move).ExecContext(ctx, int64(at.Index), int64(at.Term), sumOfMeta(d.cfg, at))
	return err
}

func (d *DB) store(ctx context.Context, tx *sql.Tx, changes []ledger.Change) error {
	for i, change := range changes {
		if replacedLater(changes[i+1:], change) {
			continue
		}
		put, ok := d.put[change.Family]
		if !ok {
			return fmt.Errorf("there is no table for the family %q", change.Family)
		}
		if change.Value == nil {
			if _, err := tx.StmtContext(ctx, d.drop[change.Family]).ExecContext(ctx, change.Key); err != nil {
				return err
			}
			continue
		}
		record, err := json.Marshal(change.Value)
		if err != nil {
			return fmt.Errorf("%s %q: %w", change.Family, change.Key, err)
		}
		if _, err := tx.StmtContext(ctx, put).ExecContext(ctx, change.Key, string(record), sumOf(change.Family, change.Key, string(record))); err != nil {
			return err
		}
	}
	return nil
}

// replacedLater spares writing a record that the same batch writes again: the
// journal of a recovery is written with every step.
func replacedLater(later []ledger.Change, change ledger.Change) bool {
	// A long tail is not searched: that would cost more than it spares.
	for _, other := range later[:min(len(later), 64)] {
		if other.Family == change.Family && other.Key == change.Key {
			return true
		}
	}
	return false
}

// whole lists every record of a state.
func whole(s ledger.State) []ledger.Change {
	var all []ledger.Change
	if s.Generation != 0 {
		header := ledger.Header{ID: s.ID, Generation: s.Generation, LastAudit: s.LastAudit, Held: s.Held, Controllers: s.Controllers}
		all = append(all, ledger.Change{Family: ledger.FamilyHeader, Value: header})
	}
	for k, v := range s.Clusters {
		all = append(all, ledger.Change{Family: ledger.FamilyClusters, Key: k, Value: v})
	}
	for k, v := range s.Servers {
		all = append(all, ledger.Change{Family: ledger.FamilyServers, Key: k.String(), Value: v})
	}
	for k, v := range s.Recoveries {
		all = append(all, ledger.Change{Family: ledger.FamilyRecoveries, Key: k, Value: v})
	}
	for k, v := range s.Confirmations {
		all = append(all, ledger.Change{Family: ledger.FamilyConfirmations, Key: k.String(), Value: v})
	}
	for k, v := range s.Downtimes {
		all = append(all, ledger.Change{Family: ledger.FamilyDowntimes, Key: k.String(), Value: v})
	}
	for k, v := range s.Rules {
		all = append(all, ledger.Change{Family: ledger.FamilyRules, Key: k.String(), Value: v})
	}
	for k, v := range s.Pauses {
		all = append(all, ledger.Change{Family: ledger.FamilyPauses, Key: k, Value: v})
	}
	for k, v := range s.Datacenters {
		all = append(all, ledger.Change{Family: ledger.FamilyDatacenters, Key: k, Value: v})
	}
	for _, v := range s.Audit {
		all = append(all, ledger.Change{Family: ledger.FamilyAudit, Key: strconv.FormatUint(v.ID, 10), Value: v})
	}
	return all
}

// Load returns the state in the file and its position.
func (d *DB) Load(ctx context.Context) (ledger.State, Position, error) {
	var index, term int64
	var sum sql.NullInt64
	row := d.db.QueryRowContext(ctx, "SELECT applied_index, applied_term, sum FROM meta WHERE only_row = 1")
	if err := row.Scan(&index, &term, &sum); err != nil {
		return ledger.State{}, Position{}, d.explain("load", err)
	}
	at := Position{Index: uint64(index), Term: uint64(term)}
	if !fits(sum, sumOfMeta(d.cfg, at)) {
		return ledger.State{}, Position{}, fmt.Errorf("load %s: %w: the checksum of meta does not fit", d.path, ErrDamaged)
	}
	s := ledger.State{
		Clusters: map[string]ledger.Cluster{}, Servers: map[topology.Key]ledger.Server{},
		Recoveries: map[string]ledger.Recovery{}, Confirmations: map[ledger.ConfirmationKey]ledger.Confirmation{},
	}
	err := errors.Join(
		load(ctx, d, ledger.FamilyHeader, func(h ledger.Header) string {
			s.ID, s.Generation, s.LastAudit, s.Held, s.Controllers = h.ID, h.Generation, h.LastAudit, h.Held, h.Controllers
			return ""
		}),
		load(ctx, d, ledger.FamilyClusters, func(c ledger.Cluster) string {
			s.Clusters[c.Name] = c
			return c.Name
		}),
		load(ctx, d, ledger.FamilyServers, func(v ledger.Server) string {
			s.Servers[v.Key] = v
			return v.Key.String()
		}),
		load(ctx, d, ledger.FamilyRecoveries, func(r ledger.Recovery) string {
			s.Recoveries[r.ID] = r
			return r.ID
		}),
		load(ctx, d, ledger.FamilyConfirmations, func(c ledger.Confirmation) string {
			key := ledger.ConfirmationKey{Receiver: c.Receiver, Name: c.Name, Cluster: c.Cluster}
			s.Confirmations[key] = c
			return key.String()
		}),
		loadOperations(ctx, d, &s))
	if err != nil {
		return ledger.State{}, Position{}, err
	}
	return s, at, nil
}

// loadOperations reads what operators asked for, and the audit. A family without
// records is nil, as the ledger keeps it.
func loadOperations(ctx context.Context, d *DB, s *ledger.State) error {
	err := errors.Join(
		load(ctx, d, ledger.FamilyDowntimes, func(v ledger.Downtime) string {
			s.Downtimes = with(s.Downtimes, v.Server, v)
			return v.Server.String()
		}),
		load(ctx, d, ledger.FamilyRules, func(v ledger.PromotionRule) string {
			s.Rules = with(s.Rules, v.Server, v)
			return v.Server.String()
		}),
		load(ctx, d, ledger.FamilyPauses, func(v ledger.Pause) string {
			s.Pauses = with(s.Pauses, v.Cluster, v)
			return v.Cluster
		}),
		load(ctx, d, ledger.FamilyDatacenters, func(v ledger.DatacenterDown) string {
			s.Datacenters = with(s.Datacenters, v.Datacenter, v)
			return v.Datacenter
		}),
		load(ctx, d, ledger.FamilyAudit, func(v ledger.AuditEntry) string {
			s.Audit = append(s.Audit, v)
			return strconv.FormatUint(v.ID, 10)
		}))
	slices.SortFunc(s.Audit, func(a, b ledger.AuditEntry) int { return cmp.Compare(a.ID, b.ID) })
	return err
}

func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	if m == nil {
		m = map[K]V{}
	}
	m[key] = value
	return m
}

// load reads a family; add takes a record and returns the key that it should
// have been stored under.
func load[V any](ctx context.Context, d *DB, family string, add func(V) string) (err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT key, record, sum FROM "+family)
	if err != nil {
		return d.explain("load", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		var record []byte
		var sum sql.NullInt64
		if err := rows.Scan(&key, &record, &sum); err != nil {
			return d.explain("load", err)
		}
		if !fits(sum, sumOf(family, key, string(record))) {
			return fmt.Errorf("load %s: %w: the checksum of %s %q does not fit", d.path, ErrDamaged, family, key)
		}
		var value V
		decoder := json.NewDecoder(bytes.NewReader(record))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&value); err != nil {
			why := ErrDamaged
			if sum.Valid {
				why = ErrNewer // It is as it was written.
			}
			return fmt.Errorf("load %s: %w: %s %q: %w", d.path, why, family, key, err)
		}
		if own := add(value); own != key {
			return fmt.Errorf("load %s: %w: %s %q holds the record of %q", d.path, ErrDamaged, family, key, own)
		}
	}
	if err := rows.Err(); err != nil {
		return d.explain("load", err)
	}
	return nil
}
