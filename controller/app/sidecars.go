package app

import (
	"context"
	"time"

	"go.uber.org/fx"

	"switchyard/controller/bulletin"
	"switchyard/controller/config"
	"switchyard/sidecar/call"
	"switchyard/sidecar/protocol"
	"switchyard/store"
	"switchyard/store/ledger"
)

// newSidecarClient calls sidecars, signed with the secret that they share.
func newSidecarClient(lc fx.Lifecycle, c *config.File) *call.Client {
	client := call.New(c.Sidecars.Secret.Reveal())
	lc.Append(fx.StopHook(client.Wait))
	return client
}

// newBulletin tells sidecars of the routes until the parts are stopped.
func newBulletin(c *config.File, s *store.Store, t *tasks) *bulletin.Bulletin {
	return bulletin.New(bulletin.Config{Self: c.ID, Now: time.Now}, board{tables{s, ledger.Proxy}}, t.ctx.Done())
}

// board is the ledger as sidecars follow it.
type board struct{ tables }

// Watch implements bulletin.Ledger.
func (b board) Watch() (<-chan struct{}, func()) { return b.store.Watch() }

// Leader implements bulletin.Ledger.
func (b board) Leader() string {
	id, _ := b.store.Leader()
	return id
}

// line gives the sidecars' client the words of the proxies behind them.
type line struct{ *call.Client }

// Apply implements sidecar.Line.
func (l line) Apply(ctx context.Context, url string, m protocol.Apply) (protocol.Applied, error) {
	return call.Post[protocol.Applied](ctx, l.Client, url, protocol.PathApply, m)
}

// Read implements sidecar.Line.
func (l line) Read(ctx context.Context, url string, m protocol.Read) (protocol.Applied, error) {
	return call.Post[protocol.Applied](ctx, l.Client, url, protocol.PathRead, m)
}
