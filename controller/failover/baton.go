package failover

import (
	"context"
	"sync/atomic"
)

// baton is held by whoever acts on a cluster's servers. A recovery of the
// master tells whoever holds it to give way.
type baton struct {
	free    chan struct{}
	giveWay atomic.Pointer[context.CancelFunc]
}

func newBaton() *baton {
	b := &baton{free: make(chan struct{}, 1)}
	b.free <- struct{}{}
	return b
}

// try takes the baton if it is free.
func (b *baton) try() bool {
	select {
	case <-b.free:
		return true
	default:
		return false
	}
}

// take waits for the baton.
func (b *baton) take(ctx context.Context) error {
	select {
	case <-b.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *baton) put() { b.free <- struct{}{} }

// yielding returns a context that ends when a recovery wants the baton, and
// its end. Whoever holds the baton looks after this call whether a recovery was
// claimed already: what was claimed before may have found nobody to tell.
func (b *baton) yielding(ctx context.Context) (context.Context, func()) {
	work, cancel := context.WithCancel(ctx)
	b.giveWay.Store(&cancel)
	return work, func() {
		b.giveWay.Store(nil)
		cancel()
	}
}

// seize has whoever holds the baton give way, and takes it.
func (b *baton) seize(ctx context.Context) error {
	b.giveWayNow()
	return b.take(ctx)
}

func (b *baton) giveWayNow() {
	if cancel := b.giveWay.Load(); cancel != nil {
		(*cancel)()
	}
}
