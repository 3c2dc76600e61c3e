// Package workload is the application of the demo, the tests and the benchmarks: many workers that write through one
// address, remember every write that was acknowledged to them, and can tell afterwards how long nobody could write
// and what has been lost.
package workload

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/e2e/session"
)

// Config says where the application writes to, and how much.
type Config struct {
	// Address is the one address that the application knows: the proxy's.
	Address  string
	User     string
	Password string
	// Schema holds the table writes, which CreateTable makes.
	Schema string
	// FirstWorker is the number of the first worker: applications that share a table count on from one another.
	FirstWorker int
	// Workers is the number of writers, each on a connection of its own; default 24.
	Workers int
	// Rate is the number of writes per second that all workers together try; default 750. A free-running writer
	// would take the processor from the servers and controllers that share a small machine with it.
	Rate int
	// Timeout bounds each connect, read and write; default 300 ms.
	Timeout time.Duration
	// Dial connects from where the application is; nil for from here.
	Dial session.Dial
}

// Write is one acknowledged write.
type Write struct {
	Worker int
	Seq    int64
	// Server is @@server_id of the server at the other end of the connection.
	Server uint32
	// Begin is when the statement was sent, Ack when its acknowledgement was read.
	Begin time.Time
	Ack   time.Time
}

// Workload is a running (or finished) application.
type Workload struct {
	config  Config
	dialer  *session.Dialer
	workers []*worker
}

// retryPause keeps refused workers from spinning. The first attempt after a lost connection is immediate; with all
// workers together an outage's end is still seen within less than a millisecond.
const retryPause = 10 * time.Millisecond

// New checks the settings; nothing is connected before Run.
func New(config Config) (*Workload, error) {
	if config.Workers == 0 {
		config.Workers = 24
	}
	if config.Rate == 0 {
		config.Rate = 750
	}
	if config.Timeout == 0 {
		config.Timeout = 300 * time.Millisecond
	}
	if config.Workers < 1 || config.Rate < 1 {
		return nil, fmt.Errorf("workers (%d) and rate (%d) must be above 0", config.Workers, config.Rate)
	}
	dialer, err := session.NewDialer(session.Config{Address: config.Address, User: config.User,
		Password: config.Password, Schema: config.Schema, Timeout: config.Timeout, Dial: config.Dial})
	if err != nil {
		return nil, err
	}
	w := &Workload{config: config, dialer: dialer}
	for i := range config.Workers {
		w.workers = append(w.workers, &worker{id: config.FirstWorker + i, dialer: dialer,
			interval: time.Duration(config.Workers) * time.Second / time.Duration(config.Rate)})
	}
	return w, nil
}

// CreateTable makes the application's table; db is a pool on the master.
func CreateTable(ctx context.Context, db *sql.DB, schema string) error {
	_, err := db.ExecContext(ctx, "CREATE TABLE `"+schema+"`.writes (worker INT NOT NULL, seq BIGINT NOT NULL, "+
		"server_id INT UNSIGNED NOT NULL, PRIMARY KEY (worker, seq)) ENGINE=InnoDB")
	if err != nil {
		return fmt.Errorf("create the application's table: %w", err)
	}
	return nil
}

// Run writes until ctx ends, and returns when all workers have stopped. An outage is not an error: it is what the
// application is there to measure.
func (w *Workload) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for i, worker := range w.workers {
		// Spread over the interval, the workers' writes come one by one instead of all at once.
		offset := worker.interval * time.Duration(i) / time.Duration(len(w.workers))
		group.Go(func() { worker.run(ctx, offset) })
	}
	group.Wait()
	if err := ctx.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Acked lists all acknowledged writes so far, ordered by acknowledgement.
func (w *Workload) Acked() []Write {
	var all []Write
	for _, worker := range w.workers {
		all = append(all, worker.acknowledged()...)
	}
	sortByAck(all)
	return all
}

// Count is the number of acknowledged writes so far.
func (w *Workload) Count() int {
	total := 0
	for _, worker := range w.workers {
		total += worker.count()
	}
	return total
}

// Forget drops the memory of what was acknowledged before a moment, for an application that runs for long.
func (w *Workload) Forget(before time.Time) {
	for _, worker := range w.workers {
		worker.forget(before)
	}
}

// Errors counts what went wrong for the application.
type Errors struct {
	// Broken are connections that were lost, Refused are attempts to connect that failed.
	Broken  int `json:"broken"`
	Refused int `json:"refused"`
}

func (e Errors) plus(more Errors) Errors {
	return Errors{Broken: e.Broken + more.Broken, Refused: e.Refused + more.Refused}
}

// Errors counts what all workers were told so far. The end of the application is no error.
func (w *Workload) Errors() Errors {
	var all Errors
	for _, worker := range w.workers {
		all = all.plus(worker.sawErrors())
	}
	return all
}

// LastError is what the most recently failed worker was told, nil if none has failed.
func (w *Workload) LastError() error {
	var last error
	var at time.Time
	for _, worker := range w.workers {
		if when, err := worker.lastError(); err != nil && when.After(at) {
			last, at = err, when
		}
	}
	return last
}

// WaitWriting waits until count further writes have been acknowledged.
func (w *Workload) WaitWriting(ctx context.Context, count int) error {
	target := w.Count() + count
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for w.Count() < target {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d awaited writes were acknowledged: %w (last: %w)",
				count-(target-w.Count()), count, ctx.Err(), w.LastError())
		case <-ticker.C:
		}
	}
	return nil
}

// Missing lists the acknowledged writes that the given server does not have. Stop the application first, and let the
// server apply what it received.
func (w *Workload) Missing(ctx context.Context, db *sql.DB) (missing []Write, err error) {
	rows, err := db.QueryContext(ctx, "SELECT worker, seq FROM `"+w.config.Schema+"`.writes")
	if err != nil {
		return nil, fmt.Errorf("read the application's table: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	type id struct {
		worker int
		seq    int64
	}
	there := map[id]struct{}{}
	for rows.Next() {
		var row id
		if err := rows.Scan(&row.worker, &row.seq); err != nil {
			return nil, fmt.Errorf("read the application's table: %w", err)
		}
		there[row] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the application's table: %w", err)
	}
	for _, write := range w.Acked() {
		if _, ok := there[id{write.Worker, write.Seq}]; !ok {
			missing = append(missing, write)
		}
	}
	return missing, nil
}
