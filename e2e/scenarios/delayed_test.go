//go:build servers

package scenarios_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"switchyard/controller/plan"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// The only server that has everything applies an hour late: it applies all of it
// now, hands it over to the one that is promoted, and follows that one.
func TestDelayedReplicaHandsOver(t *testing.T) {
	for _, flavor := range flavors(t) {
		t.Run(string(flavor), func(t *testing.T) { handOver(t, site.Options{Flavor: flavor}) })
	}
}

// The next leader finishes a handover that its predecessor died in.
func TestLeaderDiesInHandover(t *testing.T) {
	for _, step := range []plan.Name{plan.Converge, plan.WaitApplied, plan.Promote} {
		t.Run(string(step), func(t *testing.T) {
			once := filepath.Join(t.TempDir(), "stopped")
			handOver(t, site.Options{
				Env: []string{"SWITCHYARD_STOP_BEFORE=" + string(step), "SWITCHYARD_STOP_ONCE=" + once},
			}, "stoppoints")
			if _, err := os.Stat(once); err != nil {
				t.Errorf("no leader was stopped: %v", err)
			}
		})
	}
}

func handOver(t *testing.T, o site.Options, tags ...string) {
	t.Helper()
	ctx, s := newSite(t, o, tags...)
	delayed, behind := s.DB.Replicas[0], s.DB.Replicas[1]
	stop, change, start, receiver := "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 3600", "START SLAVE", "STOP SLAVE IO_THREAD"
	if o.Flavor == stack.MySQL {
		stop, change, start = "STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600", "START REPLICA"
		receiver = "STOP REPLICA IO_THREAD"
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(delayed.Exec(ctx, stop, change, start))
	must(behind.Exec(ctx, receiver))
	must(s.DB.Master.Exec(ctx, "CREATE TABLE app.late (id INT PRIMARY KEY)", "INSERT INTO app.late VALUES (1), (2)"))
	received(t, ctx, s, delayed)
	must(s.DB.Master.Kill())
	rec := acts(t, ctx, s)
	if rec.Winner.String() != behind.Key() || rec.Via.String() != delayed.Key() {
		t.Errorf("%s was promoted via %s: %s", rec.Winner, rec.Via, rec.WinnerReason)
	}
	if got, err := behind.Value(ctx, "SELECT COUNT(*) FROM app.late"); err != nil || got != "2" {
		t.Errorf("the winner has %s rows of what only the other one had: %v", got, err)
	}
	follows(t, ctx, delayed, behind)
}

// received waits until a replica has received all that the master wrote; what it
// has applied does not matter.
func received(t *testing.T, ctx context.Context, s *site.Site, replica *stack.Server) {
	t.Helper()
	status, at, end, file := "SHOW SLAVE STATUS", "Read_Master_Log_Pos", "SHOW MASTER STATUS", "Master_Log_File"
	if replica.Flavor() == stack.MySQL {
		status, at, end, file = "SHOW REPLICA STATUS", "Read_Source_Log_Pos", "SHOW BINARY LOG STATUS", "Source_Log_File"
	}
	until(t, ctx, 20*time.Second, replica.Key()+" has received everything", func(ctx context.Context) error {
		written, err := columns(ctx, s.DB.Master, end)
		if err != nil {
			return err
		}
		got, err := columns(ctx, replica, status)
		if err == nil && (got[file] != written["File"] || got[at] != written["Position"]) {
			err = fmt.Errorf("it has received %s:%s of %s:%s", got[file], got[at], written["File"], written["Position"])
		}
		return err
	})
}

// columns returns the first row of an answer by the names of its columns.
func columns(ctx context.Context, server *stack.Server, query string) (map[string]string, error) {
	rows, err := server.Root().QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of the rows
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	if !rows.Next() {
		return nil, fmt.Errorf("%s: no rows: %w", query, rows.Err())
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i, name := range names {
		out[name] = values[i].String
	}
	return out, rows.Err()
}
