package tail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"

	"switchyard/controller/gtid"
)

// Grant lets one replica read a tail.
type Grant struct {
	User, Password string
	// Until is when no further transaction is begun to be sent.
	Until time.Time
	Tail  *Tail
	// Log is closed with the grant; nil for one that belongs to others.
	Log *Log
}

// Source is a listener on which replicas take tails, as from any server that
// they replicate from. It answers what replicas ask, and knows nothing else.
type Source struct {
	log         *slog.Logger
	listener    net.Listener
	certificate tls.Certificate

	mu     sync.Mutex
	grants map[string]Grant
}

// Listen opens a source's address.
func Listen(ctx context.Context, address string, log *slog.Logger) (*Source, error) {
	certificate, err := certify()
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; name a free address of this machine as HOST:PORT", err)
	}
	return &Source{log: log, listener: listener, certificate: certificate, grants: map[string]Grant{}}, nil
}

// certify makes a certificate that nobody has reason to trust: a replica that
// wants encryption gets it, and knows the source by the password.
func certify() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// Addr is where it listens.
func (s *Source) Addr() net.Addr { return s.listener.Addr() }

// linger is how long a grant is kept after it has run out, so that who comes
// late is told why there is nothing more.
const linger = 10 * time.Second

// Give adds a grant, in the place of those that have run out.
func (s *Source) Give(g Grant, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, old := range s.grants {
		if now.After(old.Until.Add(linger)) {
			delete(s.grants, user)
			old.close()
		}
	}
	s.grants[g.User] = g
}

func (g Grant) close() {
	if g.Log != nil {
		g.Log.Close()
	}
}

func (s *Source) grant(user string) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.grants[user]
	return g, ok
}

// Run serves until ctx ends, and returns when no replica is served any more.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer func() {
		group.Wait()
		for _, g := range s.grants {
			g.close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() }) // Accept says so
	defer stop()
	for {
		conn, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			select { // too many open files, say
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		group.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			if err := s.serve(ctx, conn); err != nil && ctx.Err() == nil {
				s.log.Debug("a replica of the tail", "from", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

const (
	handshakeTime = 5 * time.Second
	// longest is how long a replica is served.
	longest = 10 * time.Minute
)

// serve talks to one replica: the handshake, its questions, and the dump.
func (s *Source) serve(ctx context.Context, conn net.Conn) (err error) {
	defer func() { // the library may stumble over what a stranger sends
		if cause := recover(); cause != nil {
			err = fmt.Errorf("malformed: %v", cause)
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	flavored := s.newest()
	if flavored.Tail == nil {
		return errors.New("nobody is expected")
	}
	settings := &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12}
	method := mysql.AUTH_CACHING_SHA2_PASSWORD
	if flavored.Tail.native() {
		method = mysql.AUTH_NATIVE_PASSWORD
	}
	known := server.NewInMemoryProvider()
	s.mu.Lock()
	for user, g := range s.grants {
		known.AddUser(user, g.Password)
	}
	s.mu.Unlock()
	c, err := server.NewServer(flavored.Tail.version, mysql.DEFAULT_COLLATION_ID, method, nil, settings).
		NewCustomizedConn(conn, known, server.EmptyHandler{})
	if err != nil {
		return err
	}
	g, ok := s.grant(c.GetUser())
	if !ok {
		return errors.New("its grant is gone")
	}
	if err := conn.SetDeadline(time.Now().Add(min(longest, time.Until(g.Until)+linger))); err != nil {
		return err
	}
	d := &dump{conn: c, tail: g.Tail, until: g.Until, variables: map[string]string{}}
	for {
		packet, err := c.ReadPacket()
		if err != nil || len(packet) == 0 {
			return err
		}
		over, err := d.command(ctx, packet[0], packet[1:])
		if over || err != nil {
			return err
		}
		c.ResetSequence()
	}
}

// newest is the grant that was given last: what server it is of decides how
// replicas are greeted.
func (s *Source) newest() (newest Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		if newest.Tail == nil || g.Until.After(newest.Until) {
			newest = g
		}
	}
	return newest
}

// native reports whether the server's replicas know a native password rather
// than caching_sha2_password: MariaDB's, and those of a MySQL before 8.0.
func (t *Tail) native() bool {
	return t.flavor == gtid.MariaDB || len(t.version) > 1 && t.version[1] == '.' && t.version[0] < '8'
}
