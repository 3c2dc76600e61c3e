package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"switchyard/controller/adminapi/wire"
)

// HTTP is how the controllers' HTTP door is guarded. By default it is plain, and
// asks nobody who they are.
type HTTP struct {
	TLS  HTTPTLS `yaml:"tls"`
	Auth Auth    `yaml:"auth"`
	// Users are who may call, and what each may do.
	Users []User    `yaml:"users"`
	Proxy UserProxy `yaml:"proxy"`
	// Open is what is answered to anybody all the same.
	Open []OpenPath `yaml:"open"`
	// AllowPlain lets passwords and tokens come in over plain HTTP.
	AllowPlain bool `yaml:"allow_plain"`
}

func (h *HTTP) defaults() {
	h.Auth = AuthNone
	h.Open = []OpenPath{OpenHealth, OpenLeaderCheck, OpenMetrics}
	h.Proxy.Header = "X-Forwarded-User"
}

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

// Auth is how callers say who they are.
type Auth string

// The ways.
const (
	AuthNone  Auth = "none"
	AuthBasic Auth = "basic"
	AuthToken Auth = "token"
	AuthProxy Auth = "proxy"
)

func (Auth) choices() []string { return []string{"none", "basic", "token", "proxy"} }

// OpenPath is a kind of call that anybody may make.
type OpenPath string

// The kinds.
const (
	OpenHealth      OpenPath = "health"
	OpenLeaderCheck OpenPath = "leader-check"
	OpenMetrics     OpenPath = "metrics"
)

func (OpenPath) choices() []string { return []string{"health", "leader-check", "metrics"} }

// User is one of those who may call.
type User struct {
	Name         string        `yaml:"name"`
	Role         wire.UserRole `yaml:"role"`
	Password     Secret        `yaml:"password"`
	PasswordFile string        `yaml:"password_file"`
	Token        Secret        `yaml:"token"`
	TokenFile    string        `yaml:"token_file"`
}

// Secret is the user's password or token.
func (u User) Secret() Secret { return u.Password + u.Token }

// UserProxy is a proxy that has authenticated the users, and names them.
type UserProxy struct {
	From   []Network `yaml:"from"`
	Header string    `yaml:"header"`
	// Role is for those who are none of Users; without it they are refused.
	Role wire.UserRole `yaml:"role"`
}

// Network is an address, or all of a network.
type Network struct{ prefix netip.Prefix }

// Prefix returns the network.
func (n Network) Prefix() netip.Prefix { return n.prefix }

// MarshalText writes what UnmarshalText reads.
func (n Network) MarshalText() ([]byte, error) { return n.prefix.MarshalText() }

// UnmarshalText reads 10.0.0.7 or 10.0.0.0/24.
func (n *Network) UnmarshalText(text []byte) error {
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		address, err := netip.ParseAddr(string(text))
		if err != nil || address.Zone() != "" {
			return fmt.Errorf("is %q; want an IP address, or a network such as 10.0.0.0/24", clip(string(text)))
		}
		address = address.Unmap()
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	if prefix.Bits() == 0 || prefix.Addr().Is4In6() {
		return fmt.Errorf("is %q, which is no network of a proxy's; name the proxies' own addresses", clip(string(text)))
	}
	n.prefix = prefix.Masked()
	return nil
}

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

func (d *Document) checkHTTP(f *File) error {
	h := &f.HTTP
	own, err := url.Parse(f.Self().HTTP)
	if err != nil {
		return d.Errorf("controllers", "has an http that is no URL of this controller's (%w); correct it", err)
	}
	return firstOf(
		func() error { return d.checkHTTPTLS(&h.TLS, own) },
		func() error { return d.checkUsers(h) },
		func() error { return d.checkUserProxy(h) },
		func() error { return d.checkPlain(h, f.Bind.HTTP) },
	)
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

func (d *Document) checkUsers(h *HTTP) error {
	if h.Auth == AuthNone && len(h.Users) > 0 {
		return d.Errorf("http.users", "are not used, since http.auth is none; give http.auth, or remove them")
	}
	if (h.Auth == AuthBasic || h.Auth == AuthToken) && len(h.Users) == 0 {
		return d.Errorf("http.users", "names nobody, so that nobody could call; add users, each with a name, a role and a %s", secretOf(h.Auth))
	}
	names, tokens := map[string]string{}, map[Secret]string{}
	for i := range h.Users {
		u, at := &h.Users[i], fmt.Sprintf("http.users[%d]", i)
		if err := d.checkUser(at, u, h.Auth); err != nil {
			return err
		}
		if err := d.Unique(names, u.Name, at+".name", "name each user once"); err != nil {
			return err
		}
		if other, taken := tokens[u.Token]; taken && h.Auth == AuthToken {
			return d.Errorf(at+".token", "is that of %s too; give each user a token of its own, or nobody could tell them apart", other)
		}
		tokens[u.Token] = u.Name
	}
	return nil
}

func secretOf(a Auth) string {
	if a == AuthBasic {
		return "password"
	}
	return "token"
}

func (d *Document) checkUser(at string, u *User, auth Auth) error {
	// The shortest secret that cannot be guessed over the network, if it is by chance.
	const shortest = 12
	u.PasswordFile, u.TokenFile = d.Path(u.PasswordFile), d.Path(u.TokenFile)
	if err := d.Require(at+".name", u.Name, "name the user, as the audit is to call it"); err != nil {
		return err
	}
	if len(u.Name) > wire.MaxName || strings.ContainsFunc(u.Name, func(r rune) bool {
		return !strings.ContainsRune("._-@+", r) && (r > 'z' || !('0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r))
	}) {
		return d.Errorf(at+".name", "is %q; want at most %d of A-Z a-z 0-9 . _ - @ +", clip(u.Name), wire.MaxName)
	}
	if err := d.Require(at+".role", string(u.Role), "want viewer, operator or admin"); err != nil {
		return err
	}
	kinds := []struct {
		key   string
		value *Secret
		file  string
		used  bool
	}{
		{at + ".password", &u.Password, u.PasswordFile, auth == AuthBasic},
		{at + ".token", &u.Token, u.TokenFile, auth == AuthToken},
	}
	for _, k := range kinds {
		if !k.used && (d.Has(k.key) || d.Has(k.key+"_file")) {
			return d.Errorf(k.key, "is not used, since http.auth is %s; remove it, or change http.auth", auth)
		}
	}
	for _, k := range kinds {
		if !k.used {
			continue
		}
		if err := d.TakeSecret(k.key, k.value, k.file); err != nil {
			return err
		}
		if len(*k.value) < shortest {
			return d.Errorf(k.key, "has %d characters; want at least %d, made by chance", len(*k.value), shortest)
		}
		if strings.ContainsFunc(k.value.Reveal(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return d.Errorf(k.key, "has a line break or another control character in it, which no header can carry; make another")
		}
	}
	return nil
}

func (d *Document) checkUserProxy(h *HTTP) error {
	if h.Auth != AuthProxy {
		return d.checkForwarders(h)
	}
	if len(h.Proxy.From) == 0 {
		return d.Errorf("http.proxy.from", "names nobody, and anybody could write the header; name the addresses of the proxies")
	}
	if h.Proxy.Role == "" && len(h.Users) == 0 {
		return d.Errorf("http.users", "names nobody and http.proxy.role is not given, so that nobody could call; "+
			"add users, each with a name and a role, or give http.proxy.role for all that the proxy names")
	}
	own := []string{"authorization", "cookie", "host", "content-type", "content-length", "connection", "x-forwarded-for"}
	header := strings.ToLower(h.Proxy.Header)
	if header == "" || len(header) > wire.MaxName || strings.Trim(header, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
		strings.HasPrefix(header, "x-switchyard-") || slices.Contains(own, header) {
		return d.Errorf("http.proxy.header", "is %q; want the name of a header of the proxy's own, such as X-Forwarded-User",
			clip(h.Proxy.Header))
	}
	return nil
}

// checkForwarders is checkUserProxy where users log in themselves: proxies may be
// named, by which X-Forwarded-For is believed of who fails to.
func (d *Document) checkForwarders(h *HTTP) error {
	unused := []string{"http.proxy.header", "http.proxy.role"}
	if h.Auth == AuthNone {
		unused = []string{"http.proxy"}
	}
	for _, key := range unused {
		if d.Has(key) {
			return d.Errorf(key, "is not used, since http.auth is %s; make it proxy, or remove it", h.Auth)
		}
	}
	return nil
}

// checkPlain keeps passwords and tokens from the network.
func (d *Document) checkPlain(h *HTTP, bind string) error {
	if h.AllowPlain && (h.TLS.Cert != "" || h.Auth == AuthNone || h.Auth == AuthProxy) {
		return d.Errorf("http.allow_plain", "is not used, since no password or token comes in over plain HTTP; remove it")
	}
	host, _, _ := net.SplitHostPort(bind)
	ip, err := netip.ParseAddr(host)
	local := err == nil && ip.IsLoopback()
	if h.TLS.Cert == "" && (h.Auth == AuthBasic || h.Auth == AuthToken) && !local && !h.AllowPlain {
		return d.Errorf("http.auth", "is %s, and %ss would come in over plain HTTP for all to read; give http.tls.cert and http.tls.key, "+
			"or bind.http on loopback behind a proxy with TLS, or say allow_plain: true", h.Auth, secretOf(h.Auth))
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
