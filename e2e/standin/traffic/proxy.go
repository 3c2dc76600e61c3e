// Package traffic is the stand-in's door for applications: it signs clients in by itself, and runs their statements
// over pooled connections to the servers of a hostgroup.
package traffic

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"

	"switchyard/e2e/standin/hostgroup"
)

// User is somebody who may sign in, with whose name the servers are asked too.
type User struct {
	Name, Password, Schema string
	Hostgroup              int
}

// Settings are the variables that sessions obey. A session reads them when it needs them.
type Settings struct {
	ConnectTimeout      time.Duration // of one attempt
	ConnectTimeoutMax   time.Duration // of the wait for a connection
	ConnectRetries      int
	ConnectRetriesDelay time.Duration
	QueryRetries        int
	DelayMultiplex      int
	DelayTimeout        time.Duration
	ShunOnFailures      int
	ShunRecovery        time.Duration
}

// Proxy serves clients.
type Proxy struct {
	servers  *hostgroup.Registry
	protocol *server.Server
	log      *slog.Logger

	mu       sync.Mutex
	users    map[string]User
	settings Settings
	sessions map[uint32]*session
	conns    map[net.Conn]bool
}

// New makes a proxy over the servers of a registry.
func New(servers *hostgroup.Registry, version string, log *slog.Logger) *Proxy {
	return &Proxy{servers: servers, log: log, users: map[string]User{}, sessions: map[uint32]*session{},
		conns:    map[net.Conn]bool{},
		protocol: server.NewServer(version, mysql.DEFAULT_COLLATION_ID, mysql.AUTH_NATIVE_PASSWORD, nil, nil)}
}

// SetUsers replaces who may sign in. Sessions that exist go on.
func (p *Proxy) SetUsers(users []User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users = map[string]User{}
	for _, u := range users {
		p.users[u.Name] = u
	}
}

// SetSettings replaces the variables.
func (p *Proxy) SetSettings(s Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
}

func (p *Proxy) current() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

func (p *Proxy) user(name string) (User, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.users[name]
	return u, ok
}

// CheckUsername is asked by the protocol library.
func (p *Proxy) CheckUsername(string) (bool, error) { return true, nil }

// GetCredential is asked by the protocol library. Who is unknown is refused like who is wrong.
func (p *Proxy) GetCredential(name string) (string, bool, error) {
	u, ok := p.user(name)
	if !ok {
		return "", true, server.ErrAccessDenied
	}
	return u.Password, true, nil
}

// Process is one row of the process list.
type Process struct {
	Session            uint32
	User, Schema       string
	Client             net.Addr
	Hostgroup          int
	Local              net.Addr // nil without a server
	Server             hostgroup.Key
	Command, Statement string
	Since              time.Duration
}

// Processes lists the clients.
func (p *Proxy) Processes() []Process {
	p.mu.Lock()
	list := make([]*session, 0, len(p.sessions))
	for _, s := range p.sessions {
		list = append(list, s)
	}
	p.mu.Unlock()
	processes := make([]Process, 0, len(list))
	for _, s := range list {
		processes = append(processes, s.process())
	}
	slices.SortFunc(processes, func(a, b Process) int { return int(a.Session) - int(b.Session) })
	return processes
}

// Kill ends a client's session; it returns false when there is none.
func (p *Proxy) Kill(id uint32) bool {
	p.mu.Lock()
	s := p.sessions[id]
	p.mu.Unlock()
	if s == nil {
		return false
	}
	s.end()
	return true
}

// Serve accepts clients until ctx ends, then ends them and waits for their sessions.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	var group sync.WaitGroup
	defer group.Wait()
	defer context.AfterFunc(ctx, func() {
		_ = listener.Close() // it is closed already when Accept failed
		p.mu.Lock()
		defer p.mu.Unlock()
		for conn := range p.conns {
			_ = conn.Close() // the session notices either way
		}
	})()
	group.Go(func() { p.sweep(ctx) })
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				return conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			p.log.Error("accept", "error", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors: others have to end first
			continue
		}
		group.Go(func() { p.serve(ctx, conn) })
	}
}

// sweepEvery bounds how long a free connection to a server that went offline lives on.
const sweepEvery = 2 * time.Second

func (p *Proxy) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.servers.Sweep()
		}
	}
}

func (p *Proxy) serve(ctx context.Context, conn net.Conn) {
	p.mu.Lock()
	p.conns[conn] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, conn)
		p.mu.Unlock()
		_ = conn.Close() // it is closed already when the client left
	}()
	tcp, ok := conn.(*net.TCPConn)
	if !ok || ctx.Err() != nil {
		return
	}
	s := newSession(p, tcp)
	signIn := time.AfterFunc(signInTimeout, func() { _ = tcp.Close() })
	client, err := p.protocol.NewCustomizedConn(conn, p, s)
	signIn.Stop()
	if err != nil {
		p.log.Info("client not signed in", "client", conn.RemoteAddr(), "error", err.Error())
		return
	}
	if err := s.start(client); err != nil {
		p.log.Info("client not signed in", "client", conn.RemoteAddr(), "error", err.Error())
		return
	}
	p.mu.Lock()
	p.sessions[s.id] = s
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.sessions, s.id)
		p.mu.Unlock()
		s.finish()
	}()
	for client.HandleCommand() == nil && !client.Closed() {
	}
}

const signInTimeout = 10 * time.Second
