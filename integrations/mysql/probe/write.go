package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// ErrNotWritable is what a read-only server answers to a write probe: that is no
// trouble, and nothing was written.
var ErrNotWritable = errors.New("the server is read-only")

// How often it is tried whether the file system has space, and how often while it
// has none.
const (
	spaceEvery = 10 * time.Second
	spaceAgain = 2 * time.Second
)

// WriterConfig is how writes are tried.
type WriterConfig struct {
	Config
	// Schema is our own, and Writer names our row in it.
	Schema, Writer string
}

// Writer tries writes on masters. A write that is stuck stays the only one: each
// further attempt waits for the same, so that a sick server does not fill up with
// our sessions.
type Writer struct {
	cfg WriterConfig
	log *slog.Logger

	mu    sync.Mutex
	desks map[topology.Key]*desk
	work  sync.WaitGroup
}

// desk is what is kept of one server. It is for one attempt at a time.
type desk struct {
	busy         chan struct{}
	write, space *errand
	spaceErr     error // what the last look for space ended with
	spaced       time.Time
	before       vitals // of the attempt before

	ctx  context.Context // of all that is under way there
	stop context.CancelFunc

	mu   sync.Mutex
	conn *link.Conn // the write's, kept
}

// errand is something that was begun on a server and ends when the server lets it.
type errand struct {
	done chan struct{}
	err  error // once done is closed
}

func (e *errand) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// wait reports whether the errand has ended before ctx does.
func (e *errand) wait(ctx context.Context) bool {
	select {
	case <-e.done:
		return true
	case <-ctx.Done():
		return e.ended()
	}
}

// NewWriter returns a writer; nothing is connected yet.
func NewWriter(cfg WriterConfig, log *slog.Logger) *Writer {
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, link.DefaultConnectTimeout)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Writer{cfg: cfg, log: log, desks: map[topology.Key]*desk{}}
}

// Write tries to write on the server at address until ctx ends, and says what
// trouble there was, if any. An error says that there is nothing to say: the server
// cannot be reached or is frozen, does not let us, or is read-only (ErrNotWritable).
func (w *Writer) Write(ctx context.Context, address topology.Key) (topology.WriteSight, error) {
	d := w.desk(address)
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return topology.WriteSight{}, ctx.Err()
	}
	// The application's way in: a connection that is held open says nothing of
	// whether a new one is let in. Half of the time is left for what it asks.
	conn, dialErr := link.Dial(ctx, w.link(), address)
	var v vitals
	if dialErr == nil {
		defer conn.Close()
		// The server has just let us in and answered. If it does not say how it is, it
		// may be a lock behind a stuck write: the write will tell.
		half, cancel := context.WithTimeout(ctx, time.Until(deadline(ctx))/2)
		var err error
		v, err = readVitals(half, conn)
		cancel()
		if err != nil && half.Err() == nil {
			return topology.WriteSight{}, err
		}
		if v.readOnly {
			return topology.WriteSight{}, ErrNotWritable
		}
	} else if !turnedAway(dialErr) {
		return topology.WriteSight{}, dialErr
	}
	sight, err := w.attempt(ctx, d, address, conn != nil)
	locked := v.locked(d.before)
	d.before = v
	switch {
	case turnedAway(err): // the one before took the last place that was kept for us
		return topology.WriteSight{Trouble: topology.TroubleConnections, Error: link.Reason(err)}, nil
	case err != nil:
		return sight, err
	case sight.Trouble != "" && sight.Trouble != topology.TroubleStalled:
		return sight, nil
	case locked != "":
		return topology.WriteSight{Trouble: topology.TroubleSemiSync, Error: locked}, nil
	case sight.Trouble != "":
		return sight, nil
	case dialErr != nil:
		return topology.WriteSight{Trouble: topology.TroubleConnections, Error: link.Reason(dialErr)}, nil
	case v.connected > v.most:
		// Ours is the one that is let in beside all others.
		return topology.WriteSight{Trouble: topology.TroubleConnections,
			Error: fmt.Sprintf("all of its %d connections are in use", v.most)}, nil
	}
	return topology.WriteSight{}, nil
}

// deadline is when an attempt ends.
func deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(time.Second)
}

// attempt makes the write and, now and then, looks for space. What has not ended
// when ctx does is stuck. Where nobody is let in, only a connection that is kept
// can be used.
func (w *Writer) attempt(ctx context.Context, d *desk, address topology.Key, open bool) (topology.WriteSight, error) {
	if d.write == nil && (open || d.kept() != nil) {
		d.write = w.begin(d, func(ctx context.Context) error { return w.write(ctx, d, address) })
	}
	var err error
	stuck := false
	if d.write != nil {
		if stuck = !d.write.wait(ctx); !stuck {
			err, d.write = d.write.err, nil
		}
	}
	again := spaceEvery
	if d.spaceErr != nil || stuck || nameOf(err) != "" {
		again = spaceAgain
	}
	if d.space == nil && open && time.Since(d.spaced) > again && (err == nil || nameOf(err) != "") {
		d.space, d.spaced = w.begin(d, func(ctx context.Context) error { return w.takeSpace(ctx, address) }), time.Now()
	}
	if d.space != nil {
		late := ctx
		if stuck { // its time is over, and this is quick or as stuck
			var cancel context.CancelFunc
			late, cancel = context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
			defer cancel()
		}
		if d.space.wait(late) {
			d.spaceErr, d.space, d.spaced = d.space.err, nil, time.Now()
		}
	}
	if t := nameOf(err); t != "" {
		return topology.WriteSight{Trouble: t, Error: link.Reason(err)}, nil
	}
	if t := nameOf(d.spaceErr); t != "" {
		return topology.WriteSight{Trouble: t, Error: link.Reason(d.spaceErr)}, nil
	}
	if stuck {
		return topology.WriteSight{Trouble: topology.TroubleStalled, Error: "a write does not return"}, nil
	}
	return topology.WriteSight{}, err
}

// errandTime is after how long a stuck errand's connection is given up. The server
// may hold on to the session all the same.
const errandTime = 10 * time.Minute

func (w *Writer) begin(d *desk, do func(context.Context) error) *errand {
	e := &errand{done: make(chan struct{})}
	w.work.Go(func() {
		defer close(e.done)
		ctx, cancel := context.WithTimeout(d.ctx, errandTime)
		defer cancel()
		e.err = do(ctx)
	})
	return e
}

// write writes the row on the kept connection, which is made where there is none.
func (w *Writer) write(ctx context.Context, d *desk, address topology.Key) error {
	conn := d.kept()
	if conn == nil {
		var err error
		if conn, err = w.dial(ctx, address); err != nil {
			return err
		}
		if !d.keep(conn) {
			conn.Close()
			return errClosed
		}
	}
	beat, err := conn.Dialect.Beat(w.cfg.Schema, w.cfg.Writer)
	if err != nil {
		return err
	}
	row, err := w.beat(ctx, conn, beat)
	switch {
	case err != nil:
		d.drop(conn)
		return err
	case row["written"] == "0":
		return ErrNotWritable
	}
	return nil
}

func (w *Writer) beat(ctx context.Context, conn *link.Conn, beat dialect.Beat) (link.Row, error) {
	const noSchema, noTable = 1049, 1146
	ask := beat.Write() + "; " + beat.Log()
	sets, err := conn.Query(ctx, ask)
	if number := link.ServerError(err); number == noSchema || number == noTable {
		if err := conn.Exec(ctx, beat.Create()); err != nil {
			return nil, err
		}
		sets, err = conn.Query(ctx, ask)
	}
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 || len(sets[0]) != 1 {
		return nil, link.NewError(conn.Address, "write", errors.New("the server did not say whether it wrote"))
	}
	return sets[0][0], nil
}

// takeSpace looks whether there is space for more, in a session of its own.
func (w *Writer) takeSpace(ctx context.Context, address topology.Key) error {
	conn, err := w.dial(ctx, address)
	if err != nil {
		return nil //nolint:nilerr // whether connections are made is for others to say
	}
	defer conn.Close()
	beat, err := conn.Dialect.Beat(w.cfg.Schema, w.cfg.Writer)
	if err != nil {
		return err
	}
	// Our account passes read_only, and this is no statement that could look itself.
	row, err := conn.QueryRow(ctx, "SELECT @@global.read_only AS read_only")
	if err != nil || row["read_only"] != "0" {
		return nil //nolint:nilerr // there is nothing to say
	}
	for _, statement := range beat.Space() {
		if err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// dial opens a session that logs nothing.
func (w *Writer) dial(ctx context.Context, address topology.Key) (*link.Conn, error) {
	conn, err := link.Dial(ctx, w.link(), address)
	if err != nil {
		return nil, err
	}
	if err := conn.Exec(ctx, dialect.Beat{}.Prepare()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (w *Writer) link() link.Config {
	return link.Config{
		User: w.cfg.User, Password: w.cfg.Password, TLS: w.cfg.TLS, TLSOptional: w.cfg.TLSPreferred,
		ConnectTimeout: w.cfg.ConnectTimeout,
	}
}

func (w *Writer) desk(address topology.Key) *desk {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.desks[address]
	if d == nil {
		d = &desk{busy: make(chan struct{}, 1)}
		d.ctx, d.stop = context.WithCancel(context.Background())
		w.desks[address] = d
	}
	return d
}

// Release lets go of a server, whatever is stuck there.
func (w *Writer) Release(address topology.Key) {
	w.mu.Lock()
	d := w.desks[address]
	delete(w.desks, address)
	w.mu.Unlock()
	if d != nil {
		d.close()
	}
}

// Close lets go of all servers.
func (w *Writer) Close() {
	w.mu.Lock()
	desks := w.desks
	w.desks = map[topology.Key]*desk{}
	w.mu.Unlock()
	for _, d := range desks {
		d.close()
	}
	w.work.Wait()
}

func (d *desk) kept() *link.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn
}

// keep takes a connection to be kept, unless the server was let go.
func (d *desk) keep(conn *link.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.conn = conn
	return true
}

func (d *desk) drop(conn *link.Conn) {
	d.mu.Lock()
	d.conn = nil
	d.mu.Unlock()
	conn.Close()
}

// close ends what is under way, and the connection that is kept.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop()
	if d.conn != nil {
		d.conn.Cut()
	}
}

// turnedAway reports whether a server that lives lets nobody in: too many
// connections, or no thread or socket for one more. That our own account has as
// many as it may have (1203, 1226) says nothing of the others.
func turnedAway(err error) bool {
	switch link.ServerError(err) {
	case 1040, 1135:
		return true
	}
	return false
}

// nameOf says which trouble of its file system a server answers with.
func nameOf(err error) topology.Trouble {
	if err == nil || link.ServerError(err) == 0 {
		return ""
	}
	text := strings.ToLower(err.Error())
	says := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch number := link.ServerError(err); {
	case number == 1021, number == 1114, says("no space left", "errcode: 28", "errno: 28", "error 28", "error: 28", "disk full"):
		return topology.TroubleDiskFull
	case number == 1036, number == 1874, says("read-only file system", "read only file system", "input/output error",
		"errcode: 30", "errno: 30", "error 30", "errcode: 5 ", "errno: 5 ", "error 5 ", "errcode: 5)", "errno: 5)"):
		return topology.TroubleReadOnlyDisk
	}
	return ""
}
