package workload

import (
	"context"
	"slices"
	"sync"
	"time"

	"switchyard/e2e/session"
)

// worker is one writer with one connection.
type worker struct {
	id       int
	dialer   *session.Dialer
	interval time.Duration
	seq      int64
	// begun is when the worker took its turn; it writes at whole intervals after that.
	begun time.Time

	mu      sync.Mutex
	acked   []Write
	failed  error
	failure time.Time
	errors  Errors
}

func (w *worker) acknowledged() []Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Write(nil), w.acked...)
}

func (w *worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

func (w *worker) forget(before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := slices.IndexFunc(w.acked, func(write Write) bool { return !write.Ack.Before(before) })
	if kept < 0 {
		kept = len(w.acked)
	}
	w.acked = append([]Write(nil), w.acked[kept:]...)
}

func (w *worker) lastError() (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure, w.failed
}

// noteRefused remembers a connection that did not come about, noteBroken one that failed later.
func (w *worker) noteRefused(err error) { w.note(err, Errors{Refused: 1}) }

func (w *worker) noteBroken(err error) { w.note(err, Errors{Broken: 1}) }

func (w *worker) note(err error, more Errors) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed, w.failure = err, time.Now()
	w.errors = w.errors.plus(more)
}

func (w *worker) sawErrors() Errors {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errors
}

// run connects and writes; a connection on which anything failed is given up, as an application's pool does.
func (w *worker) run(ctx context.Context, offset time.Duration) {
	if !pause(ctx, offset) {
		return
	}
	w.begun = time.Now()
	for ctx.Err() == nil {
		wrote := w.connected(ctx)
		if !wrote && !pause(ctx, retryPause) {
			return
		}
	}
}

// connected writes on one connection until it fails, and tells whether anything was written.
func (w *worker) connected(ctx context.Context) (wrote bool) {
	conn, err := w.dialer.Dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.noteRefused(err)
		}
		return false
	}
	// What a failed connection says on closing is of no interest.
	defer func() { _ = conn.Close() }()
	// The proxy passes bytes: whoever answers this is who answers everything on this connection.
	id, err := conn.Integers(ctx, "SELECT @@server_id")
	if err != nil {
		if ctx.Err() == nil {
			w.noteBroken(err)
		}
		return false
	}
	for ctx.Err() == nil {
		if err := w.write(ctx, conn, uint32(id[0])); err != nil {
			if ctx.Err() == nil {
				w.noteBroken(err)
			}
			return wrote
		}
		wrote = true
		if !pause(ctx, w.untilTurn()) {
			return wrote
		}
	}
	return wrote
}

// untilTurn keeps the workers spread: after an outage, all of which they end together, each goes back to its own turn.
// Time lost is not made up for by a burst.
func (w *worker) untilTurn() time.Duration {
	return w.interval - time.Since(w.begun)%w.interval
}

// write makes one attempt. A failed attempt's number is never used again: nobody knows whether it was committed.
func (w *worker) write(ctx context.Context, conn *session.Session, server uint32) error {
	w.seq++
	record := Write{Worker: w.id, Seq: w.seq, Server: server, Begin: time.Now()}
	if err := conn.Exec(ctx, "INSERT INTO writes (worker, seq, server_id) VALUES (?, ?, @@server_id)",
		int64(w.id), w.seq); err != nil {
		return err
	}
	record.Ack = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = append(w.acked, record)
	return nil
}

func pause(ctx context.Context, length time.Duration) bool {
	if length <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
