package app

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"
)

// renewPause is the least time between two looks at the files of certificates:
// connections that come in a flood do not make the disk busy.
const renewPause = time.Second

// renewed reads certificates anew, so that renewed ones need no restart. While
// they cannot be read (half of them is written, say) the last ones serve.
type renewed struct {
	read func() (*tls.Config, error)
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex
	last   *tls.Config
	looked time.Time
	said   string
}

// newRenewed begins with what was read already.
func newRenewed(first *tls.Config, read func() (*tls.Config, error), now func() time.Time, log *slog.Logger) *renewed {
	return &renewed{read: read, now: now, log: log, last: first, looked: now()}
}

// current is what to use now.
func (r *renewed) current() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Sub(r.looked).Abs() < renewPause {
		return r.last
	}
	r.looked = now
	fresh, err := r.read()
	switch {
	case err == nil && fresh != nil:
		r.last, r.said = fresh, ""
	case err != nil && err.Error() != r.said:
		r.said = err.Error()
		r.log.Warn("http.tls cannot be read, what was read before is used", "error", err)
	}
	return r.last
}

// server is the door's configuration, which is looked up for each connection.
func (r *renewed) server() *tls.Config {
	c := r.last.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.current(), nil }
	return c
}

// client is that of this controller's own calls, where it shows a certificate.
func (r *renewed) client() *tls.Config {
	c := r.last.Clone()
	if len(c.Certificates) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &r.current().Certificates[0], nil
		}
	}
	return c
}
