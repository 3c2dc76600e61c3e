//go:build servers

package scenarios_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// fillUp takes all the connections that a server has for applications.
func fillUp(t *testing.T, ctx context.Context, server *stack.Server) (release func()) {
	t.Helper()
	db, err := server.Open(stack.AppAccount(), stack.AppSchema)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(1000)
	var held []*sql.Conn
	until(t, ctx, 30*time.Second, "the server is full", func(ctx context.Context) error {
		for {
			conn, err := db.Conn(ctx)
			if err != nil {
				return nil //nolint:nilerr // it is what was wanted
			}
			held = append(held, conn)
		}
	})
	return sync.OnceFunc(func() {
		var all error
		for _, conn := range held {
			all = errors.Join(all, conn.Close())
		}
		if all = errors.Join(all, db.Close()); all != nil {
			t.Log(all)
		}
	})
}

// A master that takes no more connections lives: it is reported, and failed over
// only where the operator said after how long.
func TestTooManyConnections(t *testing.T) {
	few := map[int]map[string]string{0: {"max_connections": "40"}}
	t.Run("reported", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Each: few, WriteProbe: true})
		release := fillUp(t, ctx, s.DB.Master)
		defer release()
		holds(t, ctx, s, "MasterTooManyConnections", "sick-reported", 30*time.Second)
		release()
		until(t, ctx, 30*time.Second, "the master is well again", func(ctx context.Context) error {
			e, err := s.Explain(ctx)
			if err == nil && e.Finding != "" {
				err = errors.New(e.Sentence)
			}
			return err
		})
	})
	t.Run("failed over", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{
			Each: few, WriteProbe: true, Recovery: "{clusters: ['*'], failover_after: {too-many-connections: 2s}}",
		})
		defer fillUp(t, ctx, s.DB.Master)()
		rec := acts(t, ctx, s)
		if rec.Finding != "MasterTooManyConnections" || rec.Kind != ledger.Failover {
			t.Errorf("%+v", rec)
		}
		until(t, ctx, 60*time.Second, "the old master is a replica", func(ctx context.Context) error {
			return standing(ctx, s, s.DB.Master, "replica")
		})
	})
}
