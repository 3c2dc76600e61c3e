package leases

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
	"switchyard/store/quorum"
)

// Peers asks the other controllers.
type Peers interface {
	Word(ctx context.Context, base string, q wire.WordRequest) (wire.WordReply, error)
}

// Sidecars calls database sidecars.
type Sidecars interface {
	Part(ctx context.Context, base string, p protocol.Part) (protocol.PartReply, error)
}

// askTime bounds one question, and pause is between two rounds of them.
const (
	askTime = time.Second
	pause   = 200 * time.Millisecond
)

// Promoter is the leader's side: it outlasts the lease of a master that is
// deposed. Nothing is kept between two calls, so that the next leader begins anew.
type Promoter struct {
	cfg Config
	// peers are the controllers' addresses, by id, now.
	peers    func() map[string]string
	own      *Register
	ask      Peers
	sidecars Sidecars
	// sleep waits on the caller's clock.
	sleep func(ctx context.Context, d time.Duration) error
}

// NewPromoter returns a promoter; peers are the addresses of the controllers, by
// id, now.
func NewPromoter(own *Register, peers func() map[string]string, ask Peers, sidecars Sidecars, sleep func(context.Context, time.Duration) error) *Promoter {
	return &Promoter{cfg: own.cfg, peers: peers, own: own, ask: ask, sidecars: sidecars, sleep: sleep}
}

// councils are the controllers whose word counts.
func (p *Promoter) councils() quorum.Councils { return p.cfg.councils(p.own.ledger.State()) }

// in are, in order, the servers of a cluster that have a database sidecar.
func (p *Promoter) in(cluster string) []topology.Key {
	state := p.own.ledger.State()
	var keys []topology.Key
	for k := range p.cfg.Sidecars {
		if state.Servers[k].Cluster == cluster {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return keys
}

// Kept reports whether servers of a cluster have database sidecars, so that a
// master that is cut off is not replaced before its lease has ended.
func (p *Promoter) Kept(cluster string) bool { return len(p.in(cluster)) > 0 }

// Promise says whether the lease of a server that seems cut off can be counted
// on; nil where no server of the cluster has a sidecar. Seen is when the server
// was last seen to answer, zero for never.
func (p *Promoter) Promise(ctx context.Context, cluster string, server topology.Key, seen time.Time) *safety.Lease {
	if !p.Kept(cluster) {
		return nil
	}
	words := p.words(ctx, wire.WordRequest{Asker: p.cfg.Self, Cluster: cluster, Server: server}, nil)
	heard, why := p.counted(cluster, server, words.replies, p.councils())
	if why == "" {
		why = p.outlived(heard.Sidecar, p.newest(words.replies), seen)
	}
	if why != "" {
		return &safety.Lease{Missing: why}
	}
	if silent := p.silent(cluster, server); len(silent) > p.spare(cluster) {
		return &safety.Lease{Missing: fmt.Sprintf("the database sidecars of %s are not heard, and %d of %d must follow it no more, "+
			"or its own may hold on by them: look after those sidecars", list(silent), p.needed(cluster), len(p.in(cluster)))}
	}
	if left := kept(heard.Peers, p.names(cluster, server)); left != "" {
		return &safety.Lease{Missing: fmt.Sprintf("sidecar %s %s", heard.Sidecar, left)}
	}
	return &safety.Lease{Promise: fmt.Sprintf("sidecar %s said %s ago that it holds the lease and ends it with its server: "+
		"it is outlasted before another server is promoted", heard.Sidecar, (time.Duration(heard.AgoMS) * time.Millisecond).String())}
}

// Unfenced reports whether the sidecar of a server fenced it since a moment, when
// it took writes, and holds the lease again. A fence ends only by grants of a
// majority of the controllers, each of which has heard of it then.
func (p *Promoter) Unfenced(ctx context.Context, cluster string, server topology.Key, since time.Time) bool {
	if !p.own.Configured(server) {
		return false
	}
	now := p.cfg.Now()
	var newest *wire.HeardRenewal
	fenced := false
	for _, r := range p.words(ctx, wire.WordRequest{Asker: p.cfg.Self, Cluster: cluster, Server: server}, nil).replies {
		if r.Heard == nil {
			continue
		}
		if newest == nil || r.Heard.AgoMS < newest.AgoMS {
			newest = r.Heard
		}
		if ago := r.Heard.FencedMS; ago != nil && now.Add(-time.Duration(*ago)*time.Millisecond).After(since) {
			fenced = true
		}
	}
	return fenced && newest.Holding == string(protocol.Held)
}

// needed is how many of the other sidecars have to part, so that no majority of
// the cluster's is left to the server's own; spare is how many may stay silent.
func (p *Promoter) needed(cluster string) int {
	n := len(p.in(cluster))
	if n < 2 {
		return 0
	}
	return n - n/2
}

func (p *Promoter) spare(cluster string) int {
	return max(0, len(p.in(cluster))-1-p.needed(cluster))
}

// silent are the other sidecars of a cluster that this controller did not hear
// lately. They renew several times in a lease: one that was not heard for half of
// it may be on the master's side of a cut, and will not part.
func (p *Promoter) silent(cluster string, server topology.Key) []topology.Key {
	now := p.cfg.Now()
	var out []topology.Key
	for _, k := range p.in(cluster) {
		if s, ok := p.own.Status(k); k != server && (!ok || now.Sub(s.At) > p.cfg.Lease/2) {
			out = append(out, k)
		}
	}
	return out
}

// names are how the other sidecars of a cluster call themselves, of those that
// this controller has heard.
func (p *Promoter) names(cluster string, server topology.Key) []string {
	var out []string
	for _, k := range p.in(cluster) {
		if s, ok := p.own.Status(k); ok && k != server {
			out = append(out, s.Sidecar)
		}
	}
	return out
}

// kept is why a lease may be kept by peers of its sidecar although these have
// parted: so many others are left that they are a majority with it. It counts as
// the sidecar does, whatever the controllers are told of.
func kept(peers, parted []string) string {
	var left []string
	for _, name := range peers {
		if !slices.Contains(parted, name) {
			left = append(left, name)
		}
	}
	if len(left) == 0 || len(left) < (len(peers)+1)/2 {
		return ""
	}
	return fmt.Sprintf("may keep its lease by peers that are asked by nobody (%s): name the same database sidecars in its file and in "+
		"sidecars.databases", strings.Join(left, ", "))
}

// counted is the newest renewal of a server, and why its lease is no promise.
func (p *Promoter) counted(
	cluster string, server topology.Key, replies map[string]wire.WordReply, councils quorum.Councils,
) (wire.HeardRenewal, string) {
	if p.cfg.Sidecars[server] == "" {
		return wire.HeardRenewal{}, fmt.Sprintf("other servers of %s have a database sidecar, and %s has none: "+
			"start one beside it and name it in sidecars.databases", cluster, server)
	}
	var newest *wire.HeardRenewal
	for _, r := range replies {
		if r.Heard != nil && (newest == nil || r.Heard.AgoMS < newest.AgoMS) {
			newest = r.Heard
		}
	}
	if newest == nil {
		return wire.HeardRenewal{}, fmt.Sprintf("no controller that answers has heard the database sidecar of %s since it started itself: "+
			"look whether it runs, and by which addresses it knows the controllers", server)
	}
	tied := true
	for _, r := range replies {
		tied = tied && (r.Heard == nil || r.Heard.Run != newest.Run || r.Heard.Tied)
	}
	switch holding, other := protocol.Holding(newest.Holding), miscounted(newest.Sidecar, newest.Controllers, councils); {
	case other != "":
		return *newest, other
	case !tied:
		return *newest, fmt.Sprintf("sidecar %s may be outlived by its server, so that its lease is no promise: tie mysqld to it", newest.Sidecar)
	case holding != protocol.Held && holding != protocol.Fenced:
		return *newest, fmt.Sprintf("sidecar %s held no lease when it was last heard (%s): it would not have fenced its server", newest.Sidecar, holding)
	}
	return *newest, ""
}

// newest is when any of them heard a sidecar last, zero if none did.
func (p *Promoter) newest(replies map[string]wire.WordReply) (at time.Time) {
	now := p.cfg.Now()
	for _, r := range replies {
		if r.Heard == nil {
			continue
		}
		if heard := now.Add(-time.Duration(r.Heard.AgoMS) * time.Millisecond); heard.After(at) {
			at = heard
		}
	}
	return at
}

// outlived is why a lease that was held once says nothing of a server that was
// seen to answer long after its sidecar was heard for the last time.
func (p *Promoter) outlived(sidecar string, heard, seen time.Time) string {
	silent := seen.Sub(heard)
	if seen.IsZero() || silent <= 2*(p.cfg.Lease+p.cfg.Fence) {
		return ""
	}
	return fmt.Sprintf("its sidecar %s was not heard for %s while the server itself answered: whatever ran there was not held by it",
		sidecar, silent.Round(time.Second))
}

// gathered is what a round of questions has brought.
type gathered struct {
	replies map[string]wire.WordReply
	// missing is why controllers gave none, by id.
	missing map[string]string
}

// words asks all controllers side by side; those in have are not asked again.
func (p *Promoter) words(ctx context.Context, q wire.WordRequest, have map[string]wire.WordReply) gathered {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out := gathered{replies: map[string]wire.WordReply{}, missing: map[string]string{}}
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	put := func(id string, reply wire.WordReply, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && reply.Controller != id:
			out.missing[id] = fmt.Sprintf("%s: the controller there calls itself %s", id, reply.Controller)
		case err != nil:
			out.missing[id] = fmt.Sprintf("%s: %v", id, err)
		default:
			out.replies[id] = reply
		}
	}
	if _, ok := have[p.cfg.Self]; !ok {
		reply, err := p.own.Word(ctx, q)
		put(p.cfg.Self, reply, err)
	}
	addresses := p.peers()
	for _, id := range p.councils().Everybody() {
		if _, ok := have[id]; ok || id == p.cfg.Self {
			continue
		}
		base := addresses[id]
		wg.Go(func() {
			reply, err := p.ask.Word(ctx, base, q)
			put(id, reply, err)
		})
	}
	wg.Wait()
	return out
}

// parted asks the other sidecars of a cluster to follow a server no more.
func (p *Promoter) part(ctx context.Context, q wire.WordRequest, have map[topology.Key]string) map[topology.Key]string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	missing := map[topology.Key]string{}
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for _, k := range p.in(q.Cluster) {
		if k == q.Server || have[k] != "" {
			continue
		}
		wg.Go(func() {
			reply, err := p.sidecars.Part(ctx, p.cfg.Sidecars[k], protocol.Part{
				Controller: p.cfg.Self, Cluster: q.Cluster, Server: q.Server.String(), Epoch: q.Epoch,
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				missing[k] = fmt.Sprintf("the sidecar of %s: %v", k, err)
			case reply.Server != k.String() || reply.Cluster != q.Cluster:
				missing[k] = fmt.Sprintf("the sidecar of %s stands beside %s of %s", k, reply.Server, reply.Cluster)
			case !reply.Parted:
				missing[k] = fmt.Sprintf("the sidecar of %s knows epoch %s", k, reply.Epoch)
			default:
				have[k] = reply.Sidecar
			}
		})
	}
	wg.Wait()
	return missing
}

// Outlast returns once no lease of server can be in force: a majority of the
// controllers gave its word, so many of the other database sidecars have parted
// that no majority is left, and the longest lease and the longest fence have
// passed since the last of them. Seen is when the server was last seen to answer,
// zero for never. Still is asked in between whether to go on. What was gathered is
// said in either case.
func (p *Promoter) Outlast(
	ctx context.Context, cluster string, server topology.Key, seen time.Time, epoch routes.Epoch, still func(context.Context) error,
) (string, error) {
	q := wire.WordRequest{Asker: p.cfg.Self, Cluster: cluster, Server: server, Epoch: epoch}
	begun := p.cfg.Now()
	patience := begun.Add(p.cfg.Lease + p.cfg.Fence + 10*time.Second)
	given, have := map[string]wire.WordReply{}, map[topology.Key]string{}
	var newest time.Time
	// Those that agreed are those whom the sidecar is held against.
	var councils quorum.Councils
	for {
		var (
			round  gathered
			parted map[topology.Key]string
			wg     sync.WaitGroup
		)
		wg.Go(func() { round = p.words(ctx, q, given) })
		parted = p.part(ctx, q, have)
		wg.Wait()
		if at := p.newest(round.replies); at.After(newest) {
			newest = at
		}
		for id, reply := range round.replies {
			if reply.Given && !sameProcess(given, reply) {
				given[id] = reply
			} else {
				round.missing[id] = fmt.Sprintf("%s: %s", id, cmp.Or(reply.Missing, "it is the same process as another controller"))
			}
		}
		if councils = p.councils(); councils.Agreed(ids(given)) && len(have) >= p.needed(cluster) {
			break
		}
		if !p.cfg.Now().Before(patience) {
			return "", fmt.Errorf("the lease of %s may be in force: %d of %d controllers gave their word and %d of the %d other database sidecars "+
				"that are needed have parted; missing: %s", server, len(given), len(councils.Everybody()), len(have), p.needed(cluster), missing(round.missing, parted))
		}
		if err := still(ctx); err != nil {
			return "", err
		}
		if err := p.sleep(ctx, pause); err != nil {
			return "", err
		}
	}
	last := p.cfg.Now()
	heard, why := p.counted(cluster, server, given, councils)
	if why == "" {
		why = p.outlived(heard.Sidecar, newest, seen)
	}
	if left := kept(heard.Peers, slices.Collect(maps.Values(have))); why == "" && left != "" {
		why = fmt.Sprintf("sidecar %s %s", heard.Sidecar, left)
	}
	if why != "" {
		return "", fmt.Errorf("the lease of %s is no promise: %s", server, why)
	}
	wait := longest(given)
	for end := last.Add(wait); p.cfg.Now().Before(end); {
		if err := still(ctx); err != nil {
			return "", err
		}
		if err := p.sleep(ctx, min(pause, end.Sub(p.cfg.Now()))); err != nil {
			return "", err
		}
	}
	note := fmt.Sprintf("its lease has ended: %s gave their word", list(ids(given)))
	if len(have) > 0 {
		var keys []topology.Key
		for k := range have {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, topology.Key.Compare)
		note += fmt.Sprintf(", the sidecars of %s have parted", list(keys))
	}
	return fmt.Sprintf("%s, and %s have passed since (its longest lease and fence)", note, wait), nil
}

// longest is the longest lease and fence that any of them knows of.
func longest(given map[string]wire.WordReply) time.Duration {
	var lease, fence int64
	for _, r := range given {
		lease, fence = max(lease, r.LongestMS), max(fence, r.FenceMS)
	}
	return time.Duration(lease+fence) * time.Millisecond
}

func sameProcess(given map[string]wire.WordReply, reply wire.WordReply) bool {
	for _, other := range given {
		if other.Boot == reply.Boot {
			return true
		}
	}
	return false
}

func ids(given map[string]wire.WordReply) []string {
	var out []string
	for id := range given {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func list[T any](items []T) string {
	out := make([]string, len(items))
	for n, item := range items {
		out[n] = fmt.Sprint(item)
	}
	return strings.Join(out, ", ")
}

func missing(words map[string]string, parts map[topology.Key]string) string {
	var all []string
	for _, why := range words {
		all = append(all, why)
	}
	for _, why := range parts {
		all = append(all, why)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
