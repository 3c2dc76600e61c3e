package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/config"
	"switchyard/controller/leases"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
	"switchyard/store"
)

// wordsName is where, in the data directory, the words are kept that this
// controller gave.
const wordsName = "words.json"

func newRegister(c *config.File, boot Boot, s *store.Store, log *slog.Logger) (*leases.Register, error) {
	cfg := leases.Config{
		Self: c.ID, Run: string(boot), Lease: c.Sidecars.Lease, Fence: c.Sidecars.Fence, Sidecars: map[topology.Key]string{},
		Aside: func() string { return cmp.Or(s.Aside(), s.Outside()) }, Now: time.Now,
	}
	for _, peer := range c.Controllers {
		cfg.Controllers = append(cfg.Controllers, peer.ID)
	}
	for n, d := range c.Sidecars.Databases {
		server, err := topology.ParseKey(d.Server)
		if err != nil {
			return nil, &StartError{fmt.Errorf("sidecars.databases[%d].server: %w", n, err)}
		}
		cfg.Sidecars[server] = d.HTTP
	}
	path := filepath.Join(c.DataDir, wordsName)
	r, err := leases.New(cfg, s, leases.File(path), log)
	if errors.Is(err, leases.ErrBook) {
		return nil, &StartError{fmt.Errorf("data_dir: %s: %w; it keeps this controller from granting a lease to a master that was deposed: "+
			"put it back, or, once no recovery is open (`switchyard recoveries`) and the longest lease has passed since this controller "+
			"ended, remove it", path, err)}
	}
	if err != nil {
		return nil, &StartError{fmt.Errorf("data_dir: %w", err)}
	}
	return r, nil
}

func newPromoter(c *config.File, s *store.Store, r *leases.Register, client *call.Client, way carriage) *leases.Promoter {
	return leases.NewPromoter(r, roster{s}.urls, way.peers(c), databases{client}, pass)
}

// pass waits for d, or until ctx ends.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// databases gives the sidecars' client the words of the promoter.
type databases struct{ *call.Client }

// Part implements leases.Sidecars.
func (d databases) Part(ctx context.Context, url string, m protocol.Part) (protocol.PartReply, error) {
	return call.Post[protocol.PartReply](ctx, d.Client, url, protocol.PathPart, m)
}

// leaseCalls are what database sidecars ask of a controller.
func leaseCalls(r *leases.Register) map[string]adminapi.SidecarCall {
	return map[string]adminapi.SidecarCall{
		protocol.PathRenew: {Deadline: time.Second, Answer: door.Answer(r.Renew)},
		protocol.PathExit:  {Deadline: time.Second, Answer: door.Answer(r.Exit)},
	}
}

// exits tells the observer what sidecars report of their servers' processes, until
// ctx ends.
func exits(ctx context.Context, r *leases.Register, o *observer.Observer) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.Exits():
			o.Ended(e.Server, e.Kind == protocol.Clean, e.Why)
		}
	}
}
