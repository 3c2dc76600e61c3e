package adminapi

import (
	"net/netip"
	"time"
)

// Documented returns what the table and the descriptions of the OpenAPI document
// each have, by method and path; the calls of sidecars are described elsewhere.
func (s *Server) Documented() (table, described map[string]bool) {
	table, described = map[string]bool{}, map[string]bool{}
	for _, r := range s.routes {
		if !r.sidecars {
			table[r.method+" "+r.path] = true
		}
	}
	for name := range descriptions() {
		described[name] = true
	}
	return table, described
}

// Logins is the limit on failed logins, for tests.
type Logins struct{ inner *logins }

// NewLogins makes one.
func NewLogins(most int, every time.Duration) Logins { return Logins{newLogins(most, every)} }

// Try reports whether an attempt is allowed now.
func (l Logins) Try(from netip.Addr) bool {
	_, ok := l.inner.take(from, time.Now())
	return ok
}

// Remembered is how many addresses are remembered.
func (l Logins) Remembered() int { return len(l.inner.seen) }
