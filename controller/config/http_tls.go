package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
)

// HTTPTLS is this controller's own certificate, and whom it believes.
type HTTPTLS struct {
	// Cert and Key are what the door shows, and what this controller shows where it
	// calls another.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// CA is of the other controllers' certificates; the system's roots by default.
	CA string `yaml:"ca"`
	// ClientCA is of the certificates that every caller must have.
	ClientCA string `yaml:"client_ca"`
}

// ClientTLS is how a controller with an https address is called.
type ClientTLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Build reads the files and returns the configuration of a client.
func (t ClientTLS) Build() (*tls.Config, error) { return clientTLS(t.CA, t.Cert, t.Key) }

// Server reads the files and returns the configuration of the door; nil where it
// is plain.
func (t HTTPTLS) Server() (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	c, err := clientTLS("", t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c.NextProtos = []string{"http/1.1"}
	if t.ClientCA == "" {
		return c, nil
	}
	if c.ClientCAs, err = pool("client_ca", t.ClientCA); err != nil {
		return nil, err
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// Client reads the files and returns how this controller calls the others.
func (t HTTPTLS) Client() (*tls.Config, error) { return clientTLS(t.CA, t.Cert, t.Key) }

func pool(field, path string) (*x509.CertPool, error) {
	pem, err := readFile(path, maxFile)
	if err != nil {
		return nil, &fileError{field, err}
	}
	out := x509.NewCertPool()
	if !out.AppendCertsFromPEM(pem) {
		return nil, &fileError{field, fmt.Errorf("%s has no PEM certificate", path)}
	}
	return out, nil
}

func (d *Document) checkHTTPTLS(t *HTTPTLS, own *url.URL) error {
	t.Cert, t.Key, t.CA, t.ClientCA = d.Path(t.Cert), d.Path(t.Key), d.Path(t.CA), d.Path(t.ClientCA)
	switch secure := own.Scheme == "https"; {
	case (t.Cert == "") != (t.Key == ""):
		return d.Errorf("http.tls", "has only one of cert and key; give both, or neither")
	case secure && t.Cert == "":
		return d.Errorf("http.tls.cert", "is missing, and the address of this controller begins with https (%s); "+
			"give cert and key, or change the address to http", own)
	case !secure && t.Cert != "":
		return d.Errorf("http.tls.cert", "is given, and the address of this controller begins with http (%s); "+
			"change it to https in the files of all controllers and sidecars, or remove http.tls", own)
	case t.ClientCA != "" && t.Cert == "":
		return d.Errorf("http.tls.client_ca", "is not used, since the door is plain; give http.tls.cert and http.tls.key, or remove it")
	}
	server, err := t.Server()
	if err == nil {
		_, err = t.Client()
	}
	if err != nil {
		key, reason := fieldOf("http.tls", err)
		return d.Errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
	}
	if server == nil {
		return nil
	}
	return d.checkOwnCertificate(*t, server, own.Hostname())
}

// checkOwnCertificate finds here what the others would only find by not being
// answered.
func (d *Document) checkOwnCertificate(t HTTPTLS, server *tls.Config, host string) error {
	chain := server.Certificates[0]
	leaf, err := x509.ParseCertificate(chain.Certificate[0])
	if err != nil {
		return d.Errorf("http.tls.cert", "cannot be used (%w); name a PEM file with this controller's certificate first", err)
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return d.Errorf("http.tls.cert", "is not for the address of this controller (%w); "+
			"have %s in its subject alternative names, or correct controllers[].http", err, host)
	}
	between := x509.NewCertPool()
	for _, der := range chain.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	accepted := func(roots *x509.CertPool, use x509.ExtKeyUsage) error {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
		var invalid x509.CertificateInvalidError
		// One that has run out may be renewed while this controller runs its own
		// affairs, and the clock may be what is wrong: the others decide on it.
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return nil
		}
		return err
	}
	if t.CA != "" {
		roots, err := pool("ca", t.CA)
		if err != nil {
			return d.Errorf("http.tls.ca", "cannot be used (%w); name a PEM file that this user may read", err)
		}
		if err := accepted(roots, x509.ExtKeyUsageServerAuth); err != nil {
			return d.Errorf("http.tls.cert", "would be refused by the other controllers, by http.tls.ca (%w); "+
				"have it signed by that CA, for server authentication", err)
		}
	}
	if server.ClientCAs != nil {
		if err := accepted(server.ClientCAs, x509.ExtKeyUsageClientAuth); err != nil {
			return d.Errorf("http.tls.cert", "would be refused where this controller calls another, by http.tls.client_ca (%w); "+
				"have it signed by that CA, for client authentication too", err)
		}
	}
	return nil
}

// CheckClientTLS completes what stands at a key, and says what is wrong with it;
// secure is whether there is an https address that it is for.
func (d *Document) CheckClientTLS(at string, t *ClientTLS, secure bool) error {
	t.CA, t.Cert, t.Key = d.Path(t.CA), d.Path(t.Cert), d.Path(t.Key)
	if *t != (ClientTLS{}) && !secure {
		return d.Errorf(at, "is not used, since the controllers' addresses begin with http; change them to https, or remove it")
	}
	if (t.Cert == "") != (t.Key == "") {
		return d.Errorf(at, "has only one of cert and key; give both, or neither")
	}
	if _, err := t.Build(); err != nil {
		key, reason := fieldOf(at, err)
		return d.Errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
	}
	return nil
}
