// Package quarantine saves what only a quarantined server has: its extra
// transactions, written as SQL that a person can review and replay.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Ledger is what is remembered.
type Ledger interface {
	State() ledger.State
	IsLeader() bool
	Propose(ctx context.Context, cmd ledger.Command) error
}

// Looker makes observations that begin after the call.
type Looker interface {
	Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View
}

// Exporter reads transactions out of a server.
type Exporter interface {
	// Export writes the transactions of a server that are not in holds, and says
	// how many there were and what could not be had.
	Export(ctx context.Context, address topology.Key, holds gtid.Set, w io.Writer) (transactions int, missing string, err error)
}

// Config is the saver's settings.
type Config struct {
	// Self is this controller's id.
	Self string
	// Dir is where the files go; it is made when the first one is written.
	Dir string
	// Interval is how often quarantined servers are looked for; default 2 s.
	Interval time.Duration
	// Timeout bounds one export; default 2 minutes.
	Timeout time.Duration
	Now     func() time.Time
}

// Saver saves the extra transactions of quarantined servers while this
// controller leads.
type Saver struct {
	cfg      Config
	ledger   Ledger
	looker   Looker
	exporter Exporter
	log      *slog.Logger

	mu sync.Mutex
	// failed says why servers could not be saved when last tried.
	failed map[topology.Key]failure
}

type failure struct {
	why string
	at  time.Time
}

// New returns a saver.
func New(cfg Config, l Ledger, looker Looker, e Exporter, log *slog.Logger) *Saver {
	if cfg.Interval <= 0 {
		cfg.Interval = 2 * time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Minute
	}
	return &Saver{cfg: cfg, ledger: l, looker: looker, exporter: e, log: log, failed: map[topology.Key]failure{}}
}

// retryAfter is how long a server that could not be saved is left alone.
const retryAfter = 30 * time.Second

// Run saves until ctx ends.
func (s *Saver) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if s.ledger.IsLeader() {
			s.turn(ctx)
		}
	}
}

// Problems says, in order, which servers could not be saved, and why.
func (s *Saver) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.failed {
		if s.cfg.Now().Sub(f.at) < 2*retryAfter {
			out = append(out, f.why)
		}
	}
	slices.Sort(out)
	return out
}

func (s *Saver) turn(ctx context.Context) {
	state := s.ledger.State()
	for _, srv := range state.Servers {
		if srv.Standing != ledger.Quarantined || srv.Extra == "" || ctx.Err() != nil || s.resting(srv.Key) {
			continue
		}
		err := s.save(ctx, state.Clusters[srv.Cluster], srv)
		s.note(ctx, srv, err)
	}
}

func (s *Saver) resting(k topology.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.failed[k]
	return ok && s.cfg.Now().Sub(f.at) < retryAfter
}

func (s *Saver) note(ctx context.Context, srv ledger.Server, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	before := s.failed[srv.Key]
	delete(s.failed, srv.Key)
	if err != nil {
		s.failed[srv.Key] = failure{why: err.Error(), at: s.cfg.Now()}
	}
	s.mu.Unlock()
	if err != nil && err.Error() != before.why {
		s.log.Warn("extra transactions are not saved yet", "instance", srv.Key.String(), "error", err)
	}
}

// Path is where this controller keeps what a server had when its quarantine began.
func (s *Saver) Path(srv ledger.Server) string {
	// Host names come from servers: nothing in them may lead out of the directory.
	name := fmt.Sprintf("%s-%s-%s.sql", srv.Cluster, url.PathEscape(srv.Key.String()), srv.Since.UTC().Format("20060102T150405.000Z"))
	return filepath.Join(s.cfg.Dir, strings.ReplaceAll(name, "..", "%2E%2E"))
}

// save writes a server's file unless it is there.
func (s *Saver) save(ctx context.Context, c ledger.Cluster, srv ledger.Server) error {
	path := s.Path(srv)
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save what only %s has: %w", srv.Key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	found, missing, err := s.write(ctx, c, srv, path)
	if err != nil {
		return fmt.Errorf("save what only %s has: %w", srv.Key, err)
	}
	s.log.Info("extra transactions saved", "cluster", c.Name, "instance", srv.Key.String(), "transactions", found, "file", path)
	reason := fmt.Sprintf("%d transactions that the cluster lacks are in %s on controller %s", found, path, s.cfg.Self)
	return s.ledger.Propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{{
		At: s.cfg.Now(), Kind: ledger.AuditRepair, Cluster: c.Name, Server: srv.Key, Action: "export-extra", By: s.cfg.Self,
		Reason: reason, Outcome: missing,
	}}})
}

func (s *Saver) write(ctx context.Context, c ledger.Cluster, srv ledger.Server, path string) (found int, missing string, err error) {
	view := s.looker.Look(ctx, []topology.Key{c.Master, srv.Key}, nil)
	master, own := view.Observations[c.Master].Instance, view.Observations[srv.Key].Instance
	if master == nil || own == nil {
		return 0, "", errors.New("the master or the server itself does not answer")
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return 0, "", err
	}
	file, err := os.CreateTemp(s.cfg.Dir, "unfinished-*")
	if err != nil {
		return 0, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	address := srv.Key
	if !own.Address.IsZero() {
		address = own.Address
	}
	found, missing, err = s.exporter.Export(ctx, address, master.Executed, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, "", err
	}
	return found, missing, os.Rename(file.Name(), path)
}
