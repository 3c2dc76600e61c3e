// Package hostgroup holds what the stand-in's runtime knows of the database servers: the rows that were loaded, the
// state of each server, and the pooled connections to it.
package hostgroup

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Status is the state of a server's row.
type Status string

// The states that a row can have.
const (
	Online      Status = "ONLINE"
	Shunned     Status = "SHUNNED"
	OfflineSoft Status = "OFFLINE_SOFT"
	OfflineHard Status = "OFFLINE_HARD"
)

// Key names a server within the proxy: the same address in two hostgroups is two servers.
type Key struct {
	Hostgroup int
	Host      string
	Port      int
}

// Address is host:port.
func (k Key) Address() string { return net.JoinHostPort(k.Host, strconv.Itoa(k.Port)) }

// Row is one row of mysql_servers. The columns that the stand-in does not act on are carried as they are.
type Row struct {
	Key
	Status         Status
	Weight         int
	MaxConnections int
	// Rest are the other columns by name.
	Rest map[string]string
}

// Usage is one row of the connection pool's statistics.
type Usage struct {
	Key
	Status                         Status
	Used, Free, OK, Failed, Served int
}

// Registry is the set of servers. It is safe for use by several goroutines.
type Registry struct {
	mu      sync.Mutex
	servers map[Key]*Server
	changed chan struct{}
}

// New makes an empty registry.
func New() *Registry {
	return &Registry{servers: map[Key]*Server{}, changed: make(chan struct{})}
}

// Server is one server of the runtime. It outlives its row for as long as somebody holds a connection to it: a row
// that comes back finds its connections again.
type Server struct {
	registry *Registry
	key      Key

	// The rest is guarded by the registry's lock.
	row      Row
	removed  bool
	hard     chan struct{}
	free     []*Conn
	used     int
	ok       int
	failed   int
	served   int
	failures []time.Time
	away     time.Time
}

// Key names the server.
func (s *Server) Key() Key { return s.key }

// Load replaces the rows. A server whose row is gone counts as OFFLINE_HARD, and its free connections are closed here;
// those of a server that only changed its state are left to Sweep.
func (r *Registry) Load(rows []Row) {
	var ending []*Conn
	r.mu.Lock()
	present := map[Key]bool{}
	for _, row := range rows {
		row.Status = Status(strings.ToUpper(string(row.Status)))
		present[row.Key] = true
		s := r.servers[row.Key]
		if s == nil {
			s = &Server{registry: r, key: row.Key, hard: make(chan struct{})}
			r.servers[row.Key] = s
		}
		s.row, s.removed, s.failures, s.away = row, false, nil, time.Time{}
		s.follow()
	}
	for key, s := range r.servers {
		if present[key] {
			continue
		}
		s.removed, s.row.Status = true, OfflineHard
		ending = append(ending, s.free...)
		s.free = nil
		s.follow()
	}
	r.forget()
	r.wake()
	r.mu.Unlock()
	for _, c := range ending {
		c.closeSocket()
	}
}

// follow opens or closes the server's hard channel as its state demands.
func (s *Server) follow() {
	select {
	case <-s.hard:
		if s.row.Status != OfflineHard {
			s.hard = make(chan struct{})
		}
	default:
		if s.row.Status == OfflineHard {
			close(s.hard)
		}
	}
}

// forget drops the servers that have neither a row nor a connection in use.
func (r *Registry) forget() {
	for key, s := range r.servers {
		if s.removed && s.used == 0 {
			delete(r.servers, key)
		}
	}
}

func (r *Registry) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed is closed when Take may find more than before.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Hard is closed when the server becomes (or is) OFFLINE_HARD. It is a new one after the server has come back.
func (s *Server) Hard() <-chan struct{} {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.hard
}

// status is what a reader of the tables is told.
func (s *Server) status(now time.Time) Status {
	if s.row.Status == Online && now.Before(s.away) {
		return Shunned
	}
	return s.row.Status
}

// Rows are the servers of the runtime, a removed one that still has connections too.
func (r *Registry) Rows() []Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	var rows []Row
	for _, s := range r.servers {
		row := s.row
		row.Status = s.status(time.Now())
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b Row) int { return compare(a.Key, b.Key) })
	return rows
}

// Usage reads the pool's statistics. Reading has an effect: it drops the free connections to servers that are not
// ONLINE.
func (r *Registry) Usage() []Usage {
	r.Sweep()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Usage
	for _, s := range r.servers {
		list = append(list, Usage{Key: s.key, Status: s.status(time.Now()), Used: s.used, Free: len(s.free), OK: s.ok,
			Failed: s.failed, Served: s.served})
	}
	r.forget()
	slices.SortFunc(list, func(a, b Usage) int { return compare(a.Key, b.Key) })
	return list
}

// Sweep closes the free connections to servers that are not ONLINE.
func (r *Registry) Sweep() {
	var ending []*Conn
	r.mu.Lock()
	for _, s := range r.servers {
		if s.row.Status != Online {
			ending = append(ending, s.free...)
			s.free = nil
		}
	}
	r.mu.Unlock()
	for _, c := range ending {
		c.closeSocket()
	}
}

// Close closes the free connections of all servers.
func (r *Registry) Close() {
	r.Load(nil)
}

func compare(a, b Key) int {
	if a.Hostgroup != b.Hostgroup {
		return a.Hostgroup - b.Hostgroup
	}
	if c := strings.Compare(a.Host, b.Host); c != 0 {
		return c
	}
	return a.Port - b.Port
}

// Take chooses an ONLINE server of a hostgroup by weight, leaving one out, and returns a free connection of the user's
// to it if there is one. The caller owes the server a Connect when there is none. With no server in sight it returns
// nil, and the time at which one that is shunned comes back.
func (r *Registry) Take(hostgroup int, user string, except *Server) (s *Server, c *Conn, back time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, total := time.Now(), 0
	var usable []*Server
	for _, s := range r.servers {
		if s.key.Hostgroup != hostgroup || s.row.Status != Online || s == except {
			continue
		}
		if now.Before(s.away) {
			if back.IsZero() || s.away.Before(back) {
				back = s.away
			}
			continue
		}
		if s.row.Weight > 0 && s.used < s.row.MaxConnections {
			usable, total = append(usable, s), total+s.row.Weight
		}
	}
	if total == 0 {
		return nil, nil, back
	}
	draw := rand.IntN(total)
	for _, s = range usable {
		if draw -= s.row.Weight; draw < 0 {
			break
		}
	}
	return s, s.takeFree(user), time.Time{}
}

func (s *Server) takeFree(user string) *Conn {
	for i := len(s.free) - 1; i >= 0; i-- {
		c := s.free[i]
		if c.user != user {
			continue
		}
		s.free = slices.Delete(s.free, i, i+1)
		if c.Quiet() {
			s.used++
			return c
		}
		c.closeSocket()
	}
	return nil
}

// String is how the server is called in messages.
func (s *Server) String() string {
	return fmt.Sprintf("%s in hostgroup %d", s.key.Address(), s.key.Hostgroup)
}
