package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// TLSMode is how much a connection is to be protected, as MySQL's clients name it.
type TLSMode string

// The modes.
const (
	// TLSDisabled: plain.
	TLSDisabled TLSMode = "disabled"
	// TLSPreferred: encrypted where the server offers it, otherwise plain.
	TLSPreferred TLSMode = "preferred"
	// TLSRequired: encrypted; the server's certificate is not looked at.
	TLSRequired TLSMode = "required"
	// TLSVerifyCA: the certificate must be of the CA, whatever its name.
	TLSVerifyCA TLSMode = "verify_ca"
	// TLSVerifyIdentity: the certificate must also be for the server's name.
	TLSVerifyIdentity TLSMode = "verify_identity"
)

func (TLSMode) choices() []string {
	return []string{"disabled", "preferred", "required", "verify_ca", "verify_identity"}
}

// TLS is how controllers connect to the database servers. The files are on
// the controller's host.
type TLS struct {
	Mode TLSMode `yaml:"mode"`
	CA   string  `yaml:"ca"`
	Cert string  `yaml:"cert"`
	Key  string  `yaml:"key"`
}

func (t *TLS) defaults() { t.Mode = TLSPreferred }

// ReplicationTLS is how replicas connect to their master. The files are on the
// database servers.
type ReplicationTLS struct {
	Mode TLSMode `yaml:"mode"`
	CA   string  `yaml:"ca"`
	Cert string  `yaml:"cert"`
	Key  string  `yaml:"key"`
}

func (t *ReplicationTLS) defaults() { t.Mode = TLSDisabled }

// ConsulTLS is how controllers connect to a Consul with an https address.
type ConsulTLS struct {
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
}

// fileError is an error with one of the files; field is its key.
type fileError struct {
	field string
	err   error
}

func (e *fileError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// Build reads the files and returns the configuration of a client; nil where
// TLS is disabled. With TLSPreferred, falling back to a plain connection is
// for the caller. With TLSVerifyIdentity the caller sets the server's name.
func (t TLS) Build() (*tls.Config, error) {
	if t.Mode == TLSDisabled {
		return nil, nil
	}
	c, err := clientTLS(t.CA, t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	switch t.Mode {
	case TLSPreferred, TLSRequired:
		c.InsecureSkipVerify = true
	case TLSVerifyCA:
		// The library verifies name and chain together or not at all.
		c.InsecureSkipVerify = true
		roots := c.RootCAs
		c.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(roots, state.PeerCertificates) }
	}
	return c, nil
}

// Build reads the files and returns the configuration of a client.
func (t ConsulTLS) Build() (*tls.Config, error) {
	c, err := clientTLS(t.CA, t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c.ServerName = t.ServerName
	return c, nil
}

func verifyChain(roots *x509.CertPool, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server sent no certificate")
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

func clientTLS(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := readFile(ca, maxFile)
		if err != nil {
			return nil, &fileError{"ca", err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fileError{"ca", fmt.Errorf("%s has no PEM certificate", ca)}
		}
	}
	if cert == "" && key == "" {
		return c, nil
	}
	certPEM, err := readFile(cert, maxFile)
	if err != nil {
		return nil, &fileError{"cert", err}
	}
	keyPEM, err := readFile(key, maxFile)
	if err != nil {
		return nil, &fileError{"key", err}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &fileError{"cert", fmt.Errorf("%s and the key %s are no pair: %w", cert, key, err)}
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// RaftTLS is how controllers connect to each other for raft: both ends show a
// certificate of the CA. ServerName is the name in all of them; without it,
// each has the host of its controller's raft address.
type RaftTLS struct {
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
}

// Enabled reports whether TLS is asked for.
func (t RaftTLS) Enabled() bool { return t != (RaftTLS{}) }

// Build reads the files, of which there are all.
func (t RaftTLS) Build() (*tls.Config, error) {
	c, err := clientTLS(t.CA, t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c.MinVersion, c.ServerName = tls.VersionTLS13, t.ServerName
	return c, nil
}

// acceptable says what others will have against a certificate, as a server's
// and as a client's.
func acceptable(c *tls.Config, name string) error {
	pair := c.Certificates[0]
	options := x509.VerifyOptions{Roots: c.RootCAs, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, der := range pair.Certificate[1:] {
		between, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		options.Intermediates.AddCert(between)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
