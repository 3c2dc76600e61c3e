package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// tlsRecord is the first byte of every connection that begins with TLS.
const tlsRecord = 0x16

// identity reads the certificates anew, so that renewed ones need no restart.
// While they cannot be read (half of them is written, say) the last ones serve.
func (s *stream) identity() (*tls.Config, error) {
	fresh, err := s.cfg.TLS()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		fresh = fresh.Clone()
		fresh.MinVersion = tls.VersionTLS13
		fresh.SessionTicketsDisabled = true
		fresh.ClientAuth, fresh.ClientCAs = tls.RequireAndVerifyClientCert, fresh.RootCAs
		s.certified = fresh
	}
	if s.certified == nil {
		return nil, fmt.Errorf("raft.tls: %w", err)
	}
	if err != nil {
		s.complainLocked("here", "raft.tls cannot be read, what was read before is used", err)
	}
	return s.certified.Clone(), nil
}

// secureDialed puts TLS on a connection, where it is asked for. What it returns
// is different for each TLS connection, and the same at both its ends.
func (s *stream) secureDialed(conn *greeted, address string) ([]byte, error) {
	if s.cfg.TLS == nil {
		return nil, nil
	}
	conf, err := s.identity()
	if err != nil {
		return nil, err
	}
	if conf.ServerName == "" {
		conf.ServerName = hostOf(address)
	}
	secured := tls.Client(conn.raw, conf)
	// The deadline is that of the connection.
	if err := secured.HandshakeContext(context.Background()); err != nil {
		var record tls.RecordHeaderError
		var verification *tls.CertificateVerificationError
		switch {
		case errors.As(err, &verification):
			err = fmt.Errorf("its certificate is not accepted: %w; "+
				"it has to be of raft.tls.ca and for the name %s", err, conf.ServerName)
		case errors.As(err, &record), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			err = fmt.Errorf("it does not answer with TLS: %w; set raft.tls on all controllers, and run the same release", err)
		default:
			err = fmt.Errorf("TLS: %w", err)
		}
		return nil, s.dislike(address, err)
	}
	conn.Conn = secured
	return bind(secured)
}

// secureAccepted is secureDialed for the other end. It also returns the
// certificates of the one who dialed, which are of the CA.
func (s *stream) secureAccepted(conn *greeted) (binding []byte, chain []*x509.Certificate, err error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn.raw, first); err != nil {
		if errors.Is(err, io.EOF) {
			err = errNothingSaid
		}
		return nil, nil, fmt.Errorf("no greeting came: %w", err)
	}
	begun := &resumed{Conn: conn.raw, first: first}
	conn.Conn = begun
	switch {
	case s.cfg.TLS == nil && first[0] == tlsRecord:
		return nil, nil, errors.New("it speaks TLS, and this controller has no raft.tls; set it on all controllers, or on none")
	case s.cfg.TLS == nil:
		return nil, nil, nil
	case first[0] == '{':
		// Heard to its end: what is left unread would take the answer with it.
		var line hello
		if _, err := hear(begun, &line); err != nil {
			return nil, nil, err
		}
		return nil, nil, s.refuse(conn.raw, challenge{Version: greetingVersion, Refusal: "it comes without TLS, " +
			"which this controller wants; set raft.tls on all controllers, and run the same release"})
	case first[0] != tlsRecord:
		return nil, nil, errors.New("it does not speak TLS")
	}
	conf, err := s.identity()
	if err != nil {
		return nil, nil, err
	}
	secured := tls.Server(begun, conf)
	if err := secured.HandshakeContext(context.Background()); err != nil {
		return nil, nil, fmt.Errorf("TLS: %w", err)
	}
	conn.Conn = secured
	binding, err = bind(secured)
	return binding, secured.ConnectionState().PeerCertificates, err
}

// misnamed says that a certificate, which is of the CA, is not the controller's.
func (s *stream) misnamed(line hello, chain []*x509.Certificate) string {
	if s.cfg.TLS == nil {
		return ""
	}
	conf, err := s.identity()
	if err != nil || len(chain) == 0 {
		return "its certificate cannot be looked at"
	}
	name := conf.ServerName
	if name == "" {
		name = hostOf(cmp.Or(s.addressOf(line.From), line.Address))
	}
	if err := chain[0].VerifyHostname(name); err != nil {
		return fmt.Sprintf("its certificate is not one for the name %s, which %q has here: %s", name, line.From, err)
	}
	return ""
}

func bind(conn *tls.Conn) ([]byte, error) {
	state := conn.ConnectionState()
	return state.ExportKeyingMaterial("EXPORTER-switchyard-raft", nil, 32)
}

// certificateRefused reports what TLS calls a remote error. It comes with the
// first byte that is read, since the dialer's certificate is looked at last.
func certificateRefused(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error"
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// resumed is a connection whose first byte was looked at.
type resumed struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (r *resumed) Read(p []byte) (int, error) {
	if len(r.first) > 0 && len(p) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// The bounds of what strangers can cost: how often one reason is logged, and
// how many may be in the middle of a greeting.
const (
	complaintPause   = time.Minute
	complaintsOfHost = 8
	complaintsAtOnce = 256
	greetingsOfHost  = 32
	greetingsAtOnce  = 512
)

// dislike logs what is wrong with the controller at an address, and returns it.
func (s *stream) dislike(address string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		// This controller is closing; what ends now says nothing of others.
		return err
	}
	s.complainLocked(address, "no raft connection to another controller", err)
	return err
}

// reject logs who was not let in.
func (s *stream) reject(conn net.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.conns == nil, errors.Is(err, net.ErrClosed):
	case errors.Is(err, errNothingSaid):
		// As those do who only look whether the port is open.
		s.logger.Debug("raft connection without a greeting", "from", conn.RemoteAddr().String())
	default:
		s.complainLocked(hostOf(conn.RemoteAddr().String()), "refused at the raft port", err)
	}
}

// complainLocked logs one reason of one host once a minute, not at each of
// raft's attempts, nor as often as a stranger likes.
func (s *stream) complainLocked(host, what string, err error) {
	now := time.Now()
	key := complaint{host, what + ": " + reasonOf(err)}
	if last, said := s.complaints[key]; said && now.Sub(last) < complaintPause {
		return
	}
	ofHost := 0
	for old, at := range s.complaints {
		switch {
		case now.Sub(at) >= complaintPause:
			delete(s.complaints, old)
		case old.host == host:
			ofHost++
		}
	}
	// A stranger may find ever new things to say; a minute later there is room again.
	if ofHost >= complaintsOfHost || len(s.complaints) >= complaintsAtOnce {
		return
	}
	s.complaints[key] = now
	s.logger.Error(what, "host", host, "error", err)
}

// complaint is a reason that one host gave.
type complaint struct{ host, reason string }

// reasonOf is an error without the ports that differ from attempt to attempt.
func reasonOf(err error) string {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Op + " " + network.Err.Error()
	}
	return err.Error()
}

// admit counts a greeting that begins; the function that it returns ends it.
func (s *stream) admit(conn net.Conn) (func(), error) {
	host := hostOf(conn.RemoteAddr().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greetings[host] >= greetingsOfHost || s.greeting >= greetingsAtOnce {
		return nil, errors.New("too many connections that have not said who they are")
	}
	s.greetings[host]++
	s.greeting++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.greeting--
		if s.greetings[host]--; s.greetings[host] == 0 {
			delete(s.greetings, host)
		}
	}, nil
}
