package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// check completes f with what stands in other files, and names the first
// setting that cannot be used.
func (d *Document) check(f *File) error {
	known := func(key, cluster string) error { return d.checkKnown(f, key, cluster) }
	return firstOf(
		func() error { return d.checkIdentity(f) },
		func() error { return d.checkControllers(f) },
		func() error { return d.checkSelf(f) },
		func() error { return d.checkBind(f) },
		func() error { return d.checkRaft(&f.Raft) },
		func() error { return d.checkRaftTLS(f) },
		func() error { return d.checkHTTP(f) },
		func() error { return d.checkMySQL(&f.MySQL) },
		func() error { return d.checkReplication(&f.MySQL.Replication) },
		func() error { return d.checkDiscovery(f) },
		func() error { return d.checkWriteProbe(f.MySQL.WriteProbe) },
		func() error { return d.checkClusters(f) },
		func() error { return d.checkRecovery(f) },
		func() error { return d.checkHooks(f.Hooks) },
		func() error { return d.checkConsul(f) },
		func() error { return d.CheckHAProxy(f.HAProxy, known) },
		func() error { return d.CheckProxySQL(f.ProxySQL, f.HAProxy, known) },
		func() error { return d.checkSidecars(f) },
		func() error { return d.checkWays(f) },
	)
}

// firstOf returns the first error, and calls nothing after it.
func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkIdentity(f *File) error {
	f.DataDir = d.Path(f.DataDir)
	f.SecretFile = d.Path(f.SecretFile)
	return firstOf(
		func() error { return d.CheckName("name", f.Name, "it is the identity of this set of controllers") },
		func() error { return d.CheckName("id", f.ID, "it names this controller among controllers[].id") },
		func() error { return d.Require("data_dir", f.DataDir, "name a directory of this controller's own") },
		func() error { return d.TakeSecret("secret", &f.Secret, f.SecretFile) },
	)
}

func (d *Document) checkSidecars(f *File) error {
	s := &f.Sidecars
	s.SecretFile = d.Path(s.SecretFile)
	if !d.Has("sidecars") {
		return nil
	}
	if err := d.TakeSecret("sidecars.secret", &s.Secret, s.SecretFile); err != nil {
		return err
	}
	if s.Secret == f.Secret {
		return d.Errorf("sidecars.secret", "is the controllers' own; give controllers and sidecars a secret beside it, "+
			"so that a sidecar's host cannot speak for a controller")
	}
	return d.checkDatabases(s)
}

// maxControllers is how many may be named where one joins.
const maxControllers = 9

func (d *Document) checkControllers(f *File) error {
	switch n := len(f.Controllers); {
	case f.Join && (n < 2 || n > maxControllers):
		return d.Errorf("controllers", "has %d entries; want this one and those that it is to join, %d at most", n, maxControllers)
	case !f.Join && n != 1 && n != 3 && n != 5:
		return d.Errorf("controllers", "has %d entries; want 1, 3 or 5, so that a majority is always clear; "+
			"one that is added to others, or that was, has join: true beside them", n)
	}
	ids, addresses := map[string]string{}, map[string]string{}
	for i := range f.Controllers {
		c, at := &f.Controllers[i], fmt.Sprintf("controllers[%d]", i)
		if c.Datacenter == "" {
			c.Datacenter = f.Datacenter
		}
		if err := d.checkController(at, c); err != nil {
			return err
		}
		if err := d.Unique(ids, c.ID, at+".id", "give every controller an id of its own"); err != nil {
			return err
		}
		const remedy = "give every controller addresses of its own"
		if err := d.Unique(addresses, c.Raft, at+".raft", remedy); err != nil {
			return err
		}
		if err := d.Unique(addresses, addressOf(c.HTTP), at+".http", remedy); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkController(at string, c *Controller) error {
	return firstOf(
		func() error { return d.CheckName(at+".id", c.ID, "it names the controller") },
		func() error { return d.CheckAdvertised(at+".raft", c.Raft) },
		func() error {
			return d.Require(at+".http", c.HTTP, "give the address that the others reach, http://HOST:PORT")
		},
		func() error {
			scheme, address, ok := strings.Cut(strings.TrimSuffix(c.HTTP, "/"), "://")
			if !ok || scheme != "http" && scheme != "https" {
				return d.Errorf(at+".http", "is %q; want http://HOST:PORT or https://HOST:PORT", c.HTTP)
			}
			c.HTTP = scheme + "://" + address
			return d.CheckAdvertised(at+".http", address)
		},
		func() error {
			if c.Datacenter == "" {
				return d.Errorf(at+".datacenter", "is missing; name the datacenter, here or for all in the key datacenter")
			}
			return d.CheckName(at+".datacenter", c.Datacenter, "it names the datacenter")
		},
	)
}

// addressOf returns HOST:PORT of a controller's URL.
func addressOf(base string) string {
	_, address, _ := strings.Cut(base, "://")
	return address
}

// CheckAdvertised wants an address that others can connect to.
func (d *Document) CheckAdvertised(key, address string) error {
	if err := d.CheckAddress(key, address); err != nil {
		return err
	}
	host, _, _ := strings.Cut(address, ":")
	if strings.HasPrefix(address, "[") {
		host = address[1:strings.Index(address, "]")]
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return d.Errorf(key, "is %q, which nobody can connect to; give the address that the others reach, "+
			"and what is listened on in bind", address)
	}
	return nil
}

// CheckAddress wants HOST:PORT.
func (d *Document) CheckAddress(key, address string) error {
	if err := d.Require(key, address, "want HOST:PORT"); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/@ ?#") {
		return d.Errorf(key, "is %q; want HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return d.Errorf(key, "has the port %q; want a number from 1 to 65535", port)
	}
	return nil
}

func (d *Document) checkSelf(f *File) error {
	self := f.Self()
	if self.ID == "" {
		ids := make([]string, len(f.Controllers))
		for i, c := range f.Controllers {
			ids[i] = c.ID
		}
		return d.Errorf("id", "is %q, which is none of controllers[].id (%s); add the controller there, or correct the id",
			f.ID, strings.Join(ids, ", "))
	}
	if f.Datacenter == "" {
		f.Datacenter = self.Datacenter
	}
	if f.Datacenter != self.Datacenter {
		return d.Errorf("datacenter", "is %s, and controllers says %s of %s; make them the same, or leave one out",
			f.Datacenter, self.Datacenter, f.ID)
	}
	return nil
}

func (d *Document) checkBind(f *File) error {
	self := f.Self()
	if f.Bind.Raft == "" {
		f.Bind.Raft = self.Raft
	}
	if f.Bind.HTTP == "" {
		f.Bind.HTTP = addressOf(self.HTTP)
	}
	if err := d.CheckAddress("bind.raft", f.Bind.Raft); err != nil {
		return err
	}
	if err := d.CheckAddress("bind.http", f.Bind.HTTP); err != nil {
		return err
	}
	if f.Bind.Raft == f.Bind.HTTP {
		return d.Errorf("bind.http", "is %s, as bind.raft is; give each a port of its own", f.Bind.HTTP)
	}
	return nil
}

// CheckName wants a name that can be a directory, a key and part of a URL.
func (d *Document) CheckName(key, name, what string) error {
	if err := d.Require(key, name, what); err != nil {
		return err
	}
	if len(name) > 64 || !regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`).MatchString(name) {
		return d.Errorf(key, "is %q; want 1 to 64 of A-Z a-z 0-9 . _ - that do not begin with a dot", clip(name))
	}
	return nil
}

// Require wants a value, and says how to give one.
func (d *Document) Require(key, value, remedy string) error {
	switch {
	case value != "":
		return nil
	case d.references[key] != "":
		return d.Errorf(key, "is empty, as the environment variable %s is; set it (%s)", d.references[key], remedy)
	case d.Has(key):
		return d.Errorf(key, "is empty; %s", remedy)
	default:
		return d.Errorf(key, "is missing; %s", remedy)
	}
}

// Positive wants a duration above zero.
func (d *Document) Positive(key string, value time.Duration) error {
	if value <= 0 {
		return d.Errorf(key, "is %s; want a duration above 0, such as 500ms", value)
	}
	return nil
}

// Unique wants a value that no key in seen has yet.
func (d *Document) Unique(seen map[string]string, value, key, remedy string) error {
	if other, taken := seen[value]; taken {
		return d.Errorf(key, "is %s, as %s is; %s", value, other, remedy)
	}
	seen[value] = key
	return nil
}

// TakeSecret completes a secret that may stand in a file of its own.
func (d *Document) TakeSecret(key string, value *Secret, path string) error {
	fileKey := key + "_file"
	switch {
	case d.Has(key) && d.Has(fileKey):
		return d.Errorf(fileKey, "is given beside %s; keep one of them", key)
	case !d.Has(fileKey):
		return d.Require(key, value.Reveal(), "give it as ${NAME} from the environment, or in a file that "+fileKey+" names")
	case path == "":
		return d.Errorf(fileKey, "is empty; name a file, or give %s instead", key)
	}
	data, err := readFile(path, maxSecret)
	if err != nil {
		return d.Errorf(fileKey, "cannot be read (%w); name a file that this user may read", err)
	}
	*value = Secret(strings.TrimRight(string(data), "\r\n"))
	if *value == "" {
		return d.Errorf(fileKey, "names %s, which is empty; write the secret into it", path)
	}
	return nil
}

// CheckURL wants an address of HTTP without a path, and returns its scheme.
func (d *Document) CheckURL(key, text string) (scheme string, err error) {
	const want = "http://HOST:PORT or https://HOST:PORT"
	if err := d.Require(key, text, "want "+want); err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", d.Errorf(key, "is not of the form %s; write it so", want)
	}
	return u.Scheme, nil
}

// fieldOf returns the key, under parent, that a TLS error is about.
func fieldOf(parent string, err error) (string, error) {
	var e *fileError
	if errors.As(err, &e) {
		return join(parent, e.field), e.err
	}
	return parent, err
}

// clip keeps an error readable whatever was read.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
