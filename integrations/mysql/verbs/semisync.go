package verbs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// SemiSync is how a server takes part in semi-synchronous replication.
type SemiSync struct {
	// Source makes commits wait for acknowledgements; Replica gives them.
	Source, Replica bool
	// WaitCount is how many acknowledgements a commit waits for; 0 leaves that
	// as it is set.
	WaitCount int
}

// SetSemiSync switches the plugins that are there; it loads none. A receiver
// that has to acknowledge from now on, or no more, is restarted, as the server
// looks at the switch only then. Switching Source off lets the commits that
// wait be acknowledged: never do that to a deposed master.
func (s *Session) SetSemiSync(ctx context.Context, want SemiSync) error {
	v, err := s.semiSyncVariables(ctx)
	if err != nil {
		return err
	}
	source, replica, count, err := s.semiSyncNames(v, want)
	if err != nil {
		return err
	}
	restart := false
	if replica != "" && (v[replica] == "ON") != want.Replica {
		if restart, err = s.receives(ctx); err != nil {
			return err
		}
	}
	var sets []string
	if count != "" && v[count] != strconv.Itoa(want.WaitCount) {
		sets = append(sets, count+" = "+strconv.Itoa(want.WaitCount))
	}
	for _, side := range []struct {
		name string
		on   bool
	}{{replica, want.Replica}, {source, want.Source}} {
		if side.name != "" && (v[side.name] == "ON") != side.on {
			sets = append(sets, side.name+" = "+strconv.FormatBool(side.on))
		}
	}
	for i, set := range sets {
		sets[i] = "SET GLOBAL " + set
	}
	if restart {
		sets = append(sets, s.d.StopReceiver(), s.d.StartReceiver())
	}
	// In one message: whoever dies here leaves neither a server without a receiver,
	// which nothing would start again, nor one that was told to acknowledge and does not.
	if len(sets) > 0 {
		if err := s.conn.Exec(ctx, strings.Join(sets, "; ")); err != nil {
			return fmt.Errorf("set semi-sync: %w", err)
		}
	}
	if v, err = s.semiSyncVariables(ctx); err != nil {
		return err
	}
	if (v[source] == "ON") != want.Source || (v[replica] == "ON") != want.Replica ||
		count != "" && v[count] != strconv.Itoa(want.WaitCount) {
		return fmt.Errorf("set semi-sync: %w: source %q, replica %q, wait count %q",
			ErrNotTaken, v[source], v[replica], v[count])
	}
	return nil
}

func (s *Session) semiSyncVariables(ctx context.Context) (map[string]string, error) {
	sets, err := s.conn.Query(ctx, "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'")
	if err != nil {
		return nil, fmt.Errorf("read semi-sync: %w", err)
	}
	v := map[string]string{}
	for _, set := range sets {
		for _, row := range set {
			v[strings.ToLower(row["Variable_name"])] = row["Value"]
		}
	}
	return v, nil
}

// semiSyncNames finds the variables by their new names or their old ones; a
// server can have either, whatever its version. A name is empty where it is
// neither there nor needed.
func (s *Session) semiSyncNames(v map[string]string, want SemiSync) (source, replica, count string, err error) {
	first := func(names ...string) string {
		for _, name := range names {
			if _, ok := v[name]; ok {
				return name
			}
		}
		return ""
	}
	source = first("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")
	replica = first("rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled")
	if source == "" && want.Source {
		return "", "", "", fmt.Errorf("%w for the source side", ErrNoSemiSync)
	}
	if replica == "" && want.Replica {
		return "", "", "", fmt.Errorf("%w for the replica side", ErrNoSemiSync)
	}
	if want.WaitCount > 0 {
		count = first("rpl_semi_sync_source_wait_for_replica_count", "rpl_semi_sync_master_wait_for_slave_count")
		if count == "" && want.Source && want.WaitCount > 1 {
			return "", "", "", fmt.Errorf("semi-sync wait count %d: this server always waits for one", want.WaitCount)
		}
	}
	return source, replica, count, nil
}

// receives tells whether a receiver runs that would have to be restarted. It
// refuses where the restart would cost received transactions, see StopReceiver.
func (s *Session) receives(ctx context.Context) (bool, error) {
	st, err := s.status(ctx)
	if err != nil || st == nil || st.IO == topology.ThreadStopped {
		return false, err
	}
	if st.SQL != topology.ThreadRunning && !s.d.KeepsRelayLog {
		return false, fmt.Errorf("set semi-sync on the replica side: %w", applierError(st))
	}
	return true, nil
}

// stopReceiver is the statement that stops receiving. On MariaDB a replica that
// acknowledges first connects to its source, to end its own session there; one
// that hangs holds that up for five seconds by default, and for one by this.
func (s *Session) stopReceiver(ctx context.Context) (string, error) {
	const patience = "rpl_semi_sync_slave_kill_conn_timeout"
	if s.d.Flavor != gtid.MariaDB {
		return s.d.StopReceiver(), nil
	}
	v, err := s.semiSyncVariables(ctx)
	if err != nil {
		return "", err
	}
	before, err := strconv.Atoi(v[patience])
	if err != nil || v["rpl_semi_sync_slave_enabled"] != "ON" {
		return s.d.StopReceiver(), nil //nolint:nilerr // a server without the switch does not wait
	}
	return fmt.Sprintf("SET GLOBAL %[1]s = 1; %[2]s; SET GLOBAL %[1]s = %[3]d", patience, s.d.StopReceiver(), before), nil
}
