package config

import (
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
