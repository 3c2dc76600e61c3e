package fleet_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/routes"
)

// TestStragglersAreCounted: of a proxy that does not follow it is told since
// when, how often it was asked, when it will be again, and that it was put back.
func TestStragglersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, forget := memory("p1")
		var bad atomic.Bool
		read := proxy.read
		proxy.read = func(ctx context.Context, table routes.Table) (routes.Proof, error) {
			if bad.Load() {
				return routes.Proof{}, errors.New("no route to host")
			}
			return read(ctx, table)
		}
		f := newFleet(t, newBook(table(1, 1)), proxy)
		stop := keep(t, f)
		defer stop()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		before := f.Status()[0]
		if !before.Holds || before.Retries != 0 || !before.NextLook.IsZero() || before.Repairs != 0 || before.Since.After(time.Now().Add(-2*time.Second)) {
			t.Errorf("it follows: %+v", before)
		}
		bad.Store(true)
		broke := time.Now()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		status := f.Status()[0]
		// The pauses grow to 1.5 s, and never end.
		if status.Holds || status.Retries < 15 || status.Retries > 40 || status.NextLook.Before(time.Now().Add(-time.Second)) ||
			status.NextLook.After(time.Now().Add(2*time.Second)) || status.Since.Sub(broke) > time.Second || !status.BehindSince.Equal(status.Since) {
			t.Errorf("it does not answer since %s: %+v", broke, status)
		}
		bad.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if status := f.Status()[0]; !status.Holds || status.Retries != 0 || !status.BehindSince.IsZero() || !status.Since.After(broke.Add(29*time.Second)) {
			t.Errorf("it is back: %+v", status)
		}
		forget()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if status := f.Status()[0]; !status.Holds || status.Repairs != 1 {
			t.Errorf("it was put back: %+v", status)
		}
	})
}
