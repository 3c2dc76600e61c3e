package leases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// ErrBook is wrapped when the book cannot be read.
var ErrBook = errors.New("the book is damaged")

// maxRuns bounds how many runs of one sidecar are remembered as over.
const maxRuns = 16

// Register is one controller's own grants.
type Register struct {
	cfg     Config
	ledger  Ledger
	book    Book
	log     *slog.Logger
	started time.Time
	exits   chan Exit

	mu      sync.Mutex
	holders map[topology.Key]*holder
	// words are the epochs before which nothing is granted, by server.
	words map[topology.Key]routes.Epoch
	// granted is the longest lease that may be in force from before this process.
	granted time.Duration
}

// page is what is in the book.
type page struct {
	// LeaseMS is the longest that may have been granted: a configuration with a
	// shorter one does not end what was granted under the last.
	LeaseMS int64                         `json:"lease_ms"`
	Words   map[topology.Key]routes.Epoch `json:"words"`
}

// holder is the sidecar of a server, as it was last heard.
type holder struct {
	newest protocol.Renew
	at     time.Time
	// over are the runs of the sidecar that a later one has replaced.
	over []string
	// until is when the last grant ends; longest and fence are the longest ever
	// granted and told.
	until          time.Time
	longest, fence time.Duration
	// fenced is when it was first heard to have fenced a server that took writes.
	fenced time.Time
	exit   *protocol.Exit
	exitAt time.Time
}

// Exit is a report that a server's process is gone: a hint.
type Exit struct {
	Cluster string
	Server  topology.Key
	Kind    protocol.ExitKind
	Why     string
	At      time.Time
}

// New returns a register; it reads the book.
func New(cfg Config, l Ledger, book Book, log *slog.Logger) (*Register, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Register{
		cfg: cfg, ledger: l, book: book, log: log, started: cfg.Now(), exits: make(chan Exit, 16),
		holders: map[topology.Key]*holder{}, words: map[topology.Key]routes.Epoch{},
	}
	data, err := book.Read()
	if err != nil {
		return nil, fmt.Errorf("read the words that this controller gave: %w: %w", ErrBook, err)
	}
	if len(data) > 0 {
		p := page{Words: r.words}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&p); err != nil {
			return nil, fmt.Errorf("the words that this controller gave cannot be read: %w: %w", ErrBook, err)
		}
		r.granted = time.Duration(p.LeaseMS) * time.Millisecond
	}
	if r.granted < cfg.Lease {
		r.granted = cfg.Lease
		if err := r.write(); err != nil {
			return nil, fmt.Errorf("write down the lease that this controller grants: %w", err)
		}
	}
	return r, nil
}

// write puts what outlives this process into the book.
func (r *Register) write() error {
	data, err := json.Marshal(page{LeaseMS: r.granted.Milliseconds(), Words: r.words})
	if err != nil {
		return err
	}
	return r.book.Write(data)
}

// Exits delivers what sidecars report of their servers' processes. Those that
// nobody takes are dropped: they are hints.
func (r *Register) Exits() <-chan Exit { return r.exits }

// Renew answers a sidecar that asks for a lease.
func (r *Register) Renew(_ context.Context, q protocol.Renew) (protocol.RenewReply, error) {
	key, err := topology.ParseKey(q.Server)
	if err != nil {
		return protocol.RenewReply{}, wire.NewError(wire.BadRequest, fmt.Sprintf("server: %v", err), "")
	}
	reply := protocol.RenewReply{Controller: r.cfg.Self, Run: r.cfg.Run}
	reply.Leader, _ = r.ledger.Leader()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	// Read under the lock: what was granted by an older state is in the register
	// before a word is given by a newer one.
	a := r.grantable(q, key, now)
	reply.Epoch, reply.Refusal, reply.Detail = a.epoch, a.refusal, a.detail
	if a.refusal == protocol.Unknown || a.refusal == protocol.Conflict {
		return reply, nil
	}
	h := r.hear(q, key, now)
	if a.refusal == "" {
		h.until, h.longest = now.Add(r.cfg.Lease), r.cfg.Lease
		reply.GrantMS = int(r.cfg.Lease.Milliseconds())
	}
	return reply, nil
}

// grantable says whether q is to be granted; the lock is held.
func (r *Register) grantable(q protocol.Renew, key topology.Key, now time.Time) answer {
	if r.cfg.Aside != nil {
		if why := r.cfg.Aside(); why != "" {
			return answer{refusal: protocol.NotReady, detail: "this controller stands aside: " + why}
		}
	}
	state := r.ledger.State()
	a := judge(state, q.Cluster, key)
	if a.refusal == protocol.Unknown || a.refusal == protocol.NotReady {
		return a
	}
	if r.cfg.Sidecars[key] == "" {
		return answer{refusal: protocol.Unknown, epoch: a.epoch, detail: fmt.Sprintf("sidecars.databases does not name %s", key)}
	}
	if why := r.conflict(q, key, state.Servers[key].UUID, now); why != "" {
		return answer{refusal: protocol.Conflict, epoch: a.epoch, detail: why}
	}
	// The ledger may be behind the word, as after a restart.
	if word := r.words[key]; word.Compare(a.epoch) > 0 {
		return answer{refusal: protocol.Deposed, epoch: word, detail: "this controller gave its word for the promotion of another server"}
	}
	return a
}

// conflict says why q is not by the sidecar of the server, or nothing; the lock
// is held.
func (r *Register) conflict(q protocol.Renew, key topology.Key, uuid string, now time.Time) string {
	if q.UUID != "" && uuid != "" && q.UUID != uuid {
		return fmt.Sprintf("the server's uuid is %s, and the ledger has %s for %s", q.UUID, uuid, key)
	}
	if fence := fenceOf(q); fence > r.cfg.Fence {
		return fmt.Sprintf("its longest fence is %s, and sidecars.fence of this controller is %s: raise that on all controllers, or lower the sidecar's",
			fence, r.cfg.Fence)
	}
	h := r.holders[key]
	switch {
	case h == nil:
		return ""
	case h.newest.Sidecar != q.Sidecar && now.Before(h.at.Add(r.cfg.Lease+h.fence)):
		return fmt.Sprintf("sidecar %s renews for this server: one sidecar for each", h.newest.Sidecar)
	case h.newest.Sidecar == q.Sidecar && slices.Contains(h.over, q.Run):
		return fmt.Sprintf("a later run of sidecar %s renews: end this one", q.Sidecar)
	}
	return ""
}

// hear remembers the newest renewal; the lock is held.
func (r *Register) hear(q protocol.Renew, key topology.Key, now time.Time) *holder {
	h := r.holders[key]
	if h == nil {
		h = &holder{}
		r.holders[key] = h
	}
	if h.newest.Sidecar != q.Sidecar {
		h.over = nil
	} else if h.newest.Run != q.Run {
		h.over = append(h.over, h.newest.Run)
		h.over = h.over[max(0, len(h.over)-maxRuns):]
	}
	// Also one that was made writable behind a fence that stood already.
	begun := h.newest.Holding != protocol.Fenced || q.State != protocol.Writable
	// One that was last heard without a lease has held one since: it was promoted
	// meanwhile, and nobody heard it take writes.
	took := h.newest.State == protocol.Writable || h.newest.Holding == protocol.Unleased
	if q.Holding == protocol.Fenced && took && begun {
		h.fenced = now
	}
	h.newest, h.at, h.fence = q, now, max(h.fence, fenceOf(q))
	return h
}

func fenceOf(q protocol.Renew) time.Duration { return time.Duration(q.FenceMS) * time.Millisecond }

// Exit notes that a server's process is gone.
func (r *Register) Exit(_ context.Context, e protocol.Exit) (protocol.ExitNoted, error) {
	noted := protocol.ExitNoted{Controller: r.cfg.Self}
	key, err := topology.ParseKey(e.Server)
	if err != nil {
		return noted, wire.NewError(wire.BadRequest, fmt.Sprintf("server: %v", err), "")
	}
	if r.cfg.Sidecars[key] == "" || r.ledger.State().Servers[key].Cluster != e.Cluster {
		return noted, wire.NewError(wire.NotFound, fmt.Sprintf("no database sidecar is known for %s of cluster %s", key, e.Cluster),
			"name it in sidecars.databases of the controllers")
	}
	now := r.cfg.Now()
	r.mu.Lock()
	h := r.holders[key]
	if h != nil && h.newest.Sidecar == e.Sidecar {
		kept := e
		h.exit, h.exitAt = &kept, now.Add(-time.Duration(e.AgoMS)*time.Millisecond)
	}
	r.mu.Unlock()
	hint := Exit{Cluster: e.Cluster, Server: key, Kind: e.Kind, At: now, Why: sayExit(e)}
	select {
	case r.exits <- hint:
	default:
	}
	return noted, nil
}

func sayExit(e protocol.Exit) string {
	switch e.Kind {
	case protocol.Clean:
		return fmt.Sprintf("process %d was shut down in order", e.PID)
	case protocol.Failed:
		return fmt.Sprintf("process %d ended with status %d", e.PID, e.Status)
	case protocol.Killed:
		return fmt.Sprintf("process %d was ended by signal %d", e.PID, e.Status)
	default:
		return fmt.Sprintf("process %d is gone", e.PID)
	}
}

// Word gives this controller's account of a server's lease and, if there is an
// epoch in the request, its word. The word is in the book before it is given.
func (r *Register) Word(_ context.Context, q wire.WordRequest) (wire.WordReply, error) {
	if err := q.Check(); err != nil {
		return wire.WordReply{}, wire.NewError(wire.BadRequest, err.Error(), "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	reply := r.account(q.Server, now)
	if q.Epoch.IsZero() {
		return reply, nil
	}
	// What it granted before it was restarted, it has forgotten.
	if wait := r.started.Add(r.granted + r.cfg.Fence).Sub(now); wait > 0 {
		reply.Missing = fmt.Sprintf("it was started lately, and what it granted before may be in force for %s more", wait.Round(time.Millisecond))
		return reply, nil
	}
	r.granted = r.cfg.Lease // written down with the next word
	switch word := r.words[q.Server]; {
	case word.Compare(q.Epoch) > 0:
		reply.Missing = fmt.Sprintf("it gave its word for epoch %s already", word)
		return reply, nil
	case word != q.Epoch:
		if err := r.promise(q.Server, q.Epoch); err != nil {
			return reply, err
		}
	}
	reply.Given = true
	return reply, nil
}

// promise writes a word down; the lock is held.
func (r *Register) promise(key topology.Key, epoch routes.Epoch) error {
	before, had := r.words[key]
	r.words[key] = epoch
	if err := r.write(); err != nil {
		delete(r.words, key)
		if had {
			r.words[key] = before
		}
		return errors.Join(errors.New("the word could not be written down, and is not given"), err)
	}
	r.log.Info("gave its word: no more leases", "instance", key.String(), "epoch", epoch.String())
	return nil
}

// account is what this controller knows of a lease; the lock is held.
func (r *Register) account(key topology.Key, now time.Time) wire.WordReply {
	reply := wire.WordReply{
		Controller: r.cfg.Self, Boot: r.cfg.Run,
		LongestMS: r.cfg.Lease.Milliseconds(), FenceMS: r.cfg.Fence.Milliseconds(),
	}
	h := r.holders[key]
	if h == nil {
		return reply
	}
	reply.LongestMS, reply.FenceMS = max(reply.LongestMS, h.longest.Milliseconds()), h.fence.Milliseconds()
	reply.Heard = &wire.HeardRenewal{
		Sidecar: h.newest.Sidecar, Run: h.newest.Run, AgoMS: max(0, now.Sub(h.at).Milliseconds()),
		Holding: string(h.newest.Holding), Tied: h.newest.Tied,
		Controllers: h.newest.Controllers, Peers: h.newest.Peers,
	}
	if !h.fenced.IsZero() {
		ago := max(0, now.Sub(h.fenced).Milliseconds())
		reply.Heard.FencedMS = &ago
	}
	return reply
}
