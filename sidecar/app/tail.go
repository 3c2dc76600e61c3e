package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/gtid"
	"switchyard/integrations/mysql/tail"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

const (
	// tailInterval is how often it is looked whether the server's process has ended.
	tailInterval = 50 * time.Millisecond
	// tailKept is for how long after a restart the log is kept as the crash left it.
	tailKept = 30 * time.Second
)

// tails builds the part that gives away what a crash has left in the server's
// binary log, where it is told where that is.
func tails(s shared) ([]Part, error) {
	if !s.file.Database.Binlog.Given() {
		return nil, nil
	}
	t, err := newTailer(s)
	if err != nil {
		return nil, err
	}
	return []Part{t.part()}, nil
}

func newTailer(s shared) (*tailer, error) {
	b, t := s.file.Database.Binlog, &tailer{shared: s}
	if _, err := t.look(); err != nil {
		return nil, fmt.Errorf("database.binlog: %w", err)
	}
	log, err := t.read()
	if err != nil {
		return nil, fmt.Errorf("database.binlog: %w", err)
	}
	log.Close()
	if t.source, err = tail.Listen(context.Background(), b.Listen, s.log); err != nil {
		return nil, fmt.Errorf("database.binlog.listen: %w", err)
	}
	if t.hold, err = openHold(s.file.StateDir); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tailer) part() Part {
	return Part{
		Name:     "binlog",
		Handlers: map[string]door.Handler{protocol.PathTail: door.Answer(t.open)},
		Run: func(ctx context.Context) error {
			defer t.drop()
			defer t.hold.close()
			return together(ctx, []Part{{Name: "give away", Run: t.source.Run}, {Name: "watch", Run: t.watch}})
		},
	}
}

// tailer reads the binary log of the server beside it, and gives its tail away.
type tailer struct {
	shared
	source *tail.Source

	mu sync.Mutex
	// ran is whether the server ran when it was last looked; left is the log as the
	// last crash left it, and back is when the server was seen to run again.
	ran  bool
	left *tail.Log
	back time.Time
	// held is until when a server that crashed is not to be started, and hold says so.
	held time.Time
	hold *hold
}

func (t *tailer) look() (runs bool, err error) { return tail.Running(t.file.Database.Binlog.DataDir) }

// watch keeps the log as it is when the server's process ends: who restarts the
// server does not wait for us.
func (t *tailer) watch(ctx context.Context) error {
	ticker := time.NewTicker(tailInterval)
	defer ticker.Stop()
	var said string
	for {
		if err := t.turn(); err != nil && err.Error() != said {
			said = err.Error()
			t.log.Warn("the tail of the binary log cannot be had", "error", err)
		} else if err == nil {
			said = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (t *tailer) turn() error {
	runs, err := t.look()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.ran
	t.ran = runs
	if was && !runs && t.crashed() {
		t.held = time.Now().Add(t.file.Database.Binlog.Hold)
	}
	// While it runs too: who starts it again asks before its end is noticed here.
	if err := t.hold.set(t.file.Database.Binlog.Hold > 0 && (runs || time.Now().Before(t.held))); err != nil {
		return err
	}
	switch {
	case was && !runs:
		t.close()
		t.left, err = t.read()
		return err
	case runs && !was:
		t.back = time.Now()
	case runs && t.left != nil && time.Since(t.back) > tailKept:
		t.close()
	}
	return nil
}

// crashed reports whether a server that has ended was not shut down in order,
// which removes its pid file.
func (t *tailer) crashed() bool {
	path := t.file.Database.PIDFile
	if path == "" {
		return true // nobody knows
	}
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// holdUntil holds a server off that does not run, while its tail is given away.
func (t *tailer) holdUntil(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if longest := time.Now().Add(longestHold); at.After(longest) {
		at = longest
	}
	if !t.ran && at.After(t.held) {
		t.held = at
	}
}

func (t *tailer) read() (*tail.Log, error) {
	return tail.Open(t.file.Database.Binlog.Index, t.file.Database.Binlog.DataDir)
}

func (t *tailer) close() {
	if t.left != nil {
		t.left.Close()
		t.left = nil
	}
}

func (t *tailer) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

// logNow is what a crash has left: now, or before the server was started again.
func (t *tailer) logNow() (log *tail.Log, owned, restarted bool, err error) {
	runs, err := t.look()
	if err != nil {
		return nil, false, false, err
	}
	if !runs {
		log, err = t.read()
		// One that began to run meanwhile only adds to it, and cuts off what is no
		// whole transaction.
		return log, true, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == nil || t.ran && time.Since(t.back) > tailKept {
		return nil, false, false, errors.New("the server runs, and has not crashed before these eyes")
	}
	return t.left, false, true, nil
}

// open answers a controller: what the server has written and holds has not, and
// where that can be had.
func (t *tailer) open(ctx context.Context, q protocol.Tail) (protocol.TailReply, error) {
	d := t.file.Database
	refuse := func(err error) (protocol.TailReply, error) {
		t.log.Warn("a tail was asked for, and there is none", "controller", q.Controller, "error", err)
		return protocol.TailReply{}, wire.NewError(wire.Conflict, err.Error(), "")
	}
	if q.Cluster != d.Cluster || !strings.EqualFold(q.Server, d.Server) {
		return refuse(fmt.Errorf("this sidecar stands beside %s of cluster %s, not %s of %s", d.Server, d.Cluster, q.Server, q.Cluster))
	}
	holds, err := parseHolds(q)
	if err != nil {
		return refuse(err)
	}
	begun := time.Now()
	log, owned, restarted, err := t.logNow()
	if err != nil {
		return refuse(err)
	}
	found, err := log.Read(ctx, holds)
	if err != nil {
		if owned {
			log.Close()
		}
		return refuse(err)
	}
	g := tail.Grant{Until: begun.Add(time.Duration(q.ForMS) * time.Millisecond), Tail: found}
	g.User, g.Password = protocol.TailAccount(t.file.Secret.Reveal(), d.Server, q.Token)
	if owned {
		g.Log = log
		t.holdUntil(g.Until)
	}
	t.source.Give(g, time.Now())
	t.log.Info("the tail of the binary log is given away", "controller", q.Controller, "transactions", found.Count, "bytes", found.Bytes,
		"set", found.Set.String(), "restarted", restarted, "problem", found.Problem, "took", time.Since(begun))
	reply := protocol.TailReply{
		Who: protocol.Who{Sidecar: t.file.Name, Run: t.run, Boot: t.boot, Cluster: d.Cluster, Server: d.Server},
		Set: found.Set.String(), Count: found.Count, Bytes: found.Bytes, Restarted: restarted, Problem: found.Problem,
	}
	if address, ok := t.source.Addr().(*net.TCPAddr); ok {
		reply.Port = address.Port
	}
	return reply, nil
}

func parseHolds(q protocol.Tail) (gtid.Set, error) {
	if q.Flavor == protocol.MariaDB {
		return gtid.ParseMariaDB(q.Own, q.Holds)
	}
	return gtid.ParseMySQL(q.Holds)
}
