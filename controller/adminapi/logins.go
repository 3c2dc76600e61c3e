package adminapi

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
)

// logins bounds how many passwords and tokens may be tried from one address: so
// many at once, and then one at a time. What was right is not counted, and what
// comes too soon is not looked at, so that an address is never shut out for
// longer than it takes to be allowed the next try.
type logins struct {
	most  int
	every time.Duration

	mu   sync.Mutex
	seen map[netip.Prefix]*attempts
}

// attempts are those of one address.
type attempts struct {
	// left is how many it may make at since; more are added as time goes by.
	left  int
	since time.Time
}

// mostAddresses is how many addresses are remembered. When there are more, one
// that has not tried for long is forgotten.
const mostAddresses = 4096

func newLogins(most int, every time.Duration) *logins {
	return &logins{most: most, every: every, seen: map[netip.Prefix]*attempts{}}
}

// take allows an attempt, or says how long from now the next one is allowed.
func (l *logins) take(from netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := network(from)
	a := l.seen[key]
	if a == nil {
		l.forget(now)
		a = &attempts{left: l.most, since: now}
		l.seen[key] = a
	}
	l.refill(a, now)
	if a.left == 0 {
		return max(a.since.Add(l.every).Sub(now), 0), false
	}
	a.left--
	return 0, true
}

// right gives an attempt back: it was no guess.
func (l *logins) right(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := network(from)
	if a := l.seen[key]; a != nil {
		if a.left = min(a.left+1, l.most); a.left == l.most {
			delete(l.seen, key)
		}
	}
}

func (l *logins) refill(a *attempts, now time.Time) {
	passed := now.Sub(a.since)
	if passed < 0 {
		// The clock was set back.
		a.since = now
		return
	}
	more := int(min(passed/l.every, time.Duration(l.most)))
	if a.left = min(a.left+more, l.most); a.left == l.most {
		a.since = now
		return
	}
	a.since = a.since.Add(time.Duration(more) * l.every)
}

// forget makes room for one address more.
func (l *logins) forget(now time.Time) {
	if len(l.seen) < mostAddresses {
		return
	}
	var longest netip.Prefix
	var since time.Time
	for key, a := range l.seen {
		if l.refill(a, now); a.left == l.most {
			delete(l.seen, key)
			continue
		}
		if since.IsZero() || a.since.Before(since) {
			longest, since = key, a.since
		}
	}
	if len(l.seen) >= mostAddresses {
		delete(l.seen, longest)
	}
}

// network is what counts as one address: a host has a whole /64 of IPv6.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of no address: all such are one
	}
	return p
}

// login has identify look at a password or a token, unless too many from there
// were wrong.
func (s *Server) login(r *request, identify func(*request) (caller, *wire.Error)) (caller, *wire.Error) {
	if len(r.Request.Header.Peek("Authorization")) == 0 {
		return identify(r) // who tries nothing guesses nothing
	}
	from := s.client(r)
	wait, ok := s.logins.take(from, time.Now())
	if !ok {
		seconds := max(int((wait+time.Second-1)/time.Second), 1)
		r.Response.Header.Set("Retry-After", strconv.Itoa(seconds))
		s.log.Debug("a login was not looked at: too many from there failed", slog.String("from", from.String()))
		return caller{}, wire.NewError(wire.TooManyLogins, fmt.Sprintf("too many logins from %s have failed, and this one was not looked at", from),
			fmt.Sprintf("correct the password or the token, wherever it is tried again and again, and try again in %d s", seconds))
	}
	who, err := identify(r)
	if err == nil {
		s.logins.right(from)
	}
	return who, err
}

// client is the address of who calls. X-Forwarded-For is believed of the proxies
// that are named, and of nobody else.
func (s *Server) client(r *request) netip.Addr {
	peer, _ := netip.AddrFromSlice(r.RemoteIP())
	peer = peer.Unmap()
	if !s.config.Auth.believes(peer) {
		return peer
	}
	var hops []string
	for _, line := range r.Request.Header.PeekAll("X-Forwarded-For") {
		hops = append(hops, strings.Split(string(line), ",")...)
	}
	// From the end: what a client writes itself stands in front.
	for _, hop := range slices.Backward(hops) {
		address, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return peer
		}
		if address = address.Unmap(); !s.config.Auth.believes(address) {
			return address
		}
		peer = address
	}
	return peer
}

// believes reports whether an address is that of a proxy that is named.
func (a Auth) believes(address netip.Addr) bool {
	return slices.ContainsFunc(a.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
