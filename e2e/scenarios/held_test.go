//go:build servers

package scenarios_test

import (
	"context"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/workload"
)

// An application whose connect timeout is longer than the switch loses each connection once, and is never refused a new
// one: HAProxy holds it until the new master is there.
func TestPatientApplicationIsNeverRefused(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor})
			account := stack.AppAccount()
			patient, err := workload.New(workload.Config{Address: w.Site.Proxies[0].Listen, User: account.User,
				Password: account.Password, Schema: stack.AppSchema, FirstWorker: 1000, Workers: 12, Rate: 120, Timeout: 20 * time.Second})
			w.must(err)
			running, stop := context.WithCancel(w.ctx)
			done := make(chan error, 1)
			go func() { done <- patient.Run(running) }()
			defer func() {
				stop()
				w.must(<-done)
			}()
			w.must(patient.WaitWriting(w.ctx, 50))
			var winner *stack.Server
			for _, target := range []*stack.Server{w.Site.DB.Replicas[1], w.Site.DB.Master} {
				before := patient.Errors()
				_, err := switchover(w.ctx, w.Site, target)
				w.must(err)
				w.must(patient.WaitWriting(w.ctx, 100))
				now := patient.Errors()
				t.Logf("%d connections were lost, %d attempts refused", now.Broken-before.Broken, now.Refused-before.Refused)
				if now.Refused != before.Refused || now.Broken == before.Broken {
					t.Errorf("before %+v, now %+v: want none refused, and some lost (%v)", before, now, patient.LastError())
				}
				winner = target
				follows(t, w.ctx, w.other(winner), winner)
			}
		})
	}
}

// other is the server that was the master before or after this one.
func (w *world) other(s *stack.Server) *stack.Server {
	if s == w.Site.DB.Master {
		return w.Site.DB.Replicas[1]
	}
	return w.Site.DB.Master
}
