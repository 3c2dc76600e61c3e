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
func (d *document) check(f *File) error {
	return firstOf(
		func() error { return d.checkIdentity(f) },
		func() error { return d.checkControllers(f) },
		func() error { return d.checkSelf(f) },
		func() error { return d.checkBind(f) },
		func() error { return d.checkRaft(f.Raft) },
		func() error { return d.checkMySQL(&f.MySQL) },
		func() error { return d.checkReplication(&f.MySQL.Replication) },
		func() error { return d.checkDiscovery(f) },
		func() error { return d.checkClusters(f) },
		func() error { return d.checkConsul(f) },
		func() error { return d.checkHAProxy(f) },
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

func (d *document) checkIdentity(f *File) error {
	f.DataDir = d.path(f.DataDir)
	f.SecretFile = d.path(f.SecretFile)
	return firstOf(
		func() error { return d.checkName("name", f.Name, "it is the identity of this set of controllers") },
		func() error { return d.checkName("id", f.ID, "it names this controller among controllers[].id") },
		func() error { return d.require("data_dir", f.DataDir, "name a directory of this controller's own") },
		func() error { return d.secret("secret", &f.Secret, f.SecretFile) },
	)
}

func (d *document) checkControllers(f *File) error {
	if n := len(f.Controllers); n != 1 && n != 3 && n != 5 {
		return d.errorf("controllers", "has %d entries; want 1, 3 or 5, so that a majority is always clear", n)
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
		if err := d.unique(ids, c.ID, at+".id", "give every controller an id of its own"); err != nil {
			return err
		}
		const remedy = "give every controller addresses of its own"
		if err := d.unique(addresses, c.Raft, at+".raft", remedy); err != nil {
			return err
		}
		if err := d.unique(addresses, strings.TrimPrefix(c.HTTP, "http://"), at+".http", remedy); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkController(at string, c *Controller) error {
	return firstOf(
		func() error { return d.checkName(at+".id", c.ID, "it names the controller") },
		func() error { return d.checkAdvertised(at+".raft", c.Raft) },
		func() error {
			return d.require(at+".http", c.HTTP, "give the address that the others reach, http://HOST:PORT")
		},
		func() error {
			address, ok := strings.CutPrefix(strings.TrimSuffix(c.HTTP, "/"), "http://")
			if !ok {
				return d.errorf(at+".http", "is %q; want http://HOST:PORT", c.HTTP)
			}
			c.HTTP = "http://" + address
			return d.checkAdvertised(at+".http", address)
		},
		func() error {
			if c.Datacenter == "" {
				return d.errorf(at+".datacenter", "is missing; name the datacenter, here or for all in the key datacenter")
			}
			return d.checkName(at+".datacenter", c.Datacenter, "it names the datacenter")
		},
	)
}

// checkAdvertised wants an address that others can connect to.
func (d *document) checkAdvertised(key, address string) error {
	if err := d.checkAddress(key, address); err != nil {
		return err
	}
	host, _, _ := strings.Cut(address, ":")
	if strings.HasPrefix(address, "[") {
		host = address[1:strings.Index(address, "]")]
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return d.errorf(key, "is %q, which nobody can connect to; give the address that the others reach, "+
			"and what is listened on in bind", address)
	}
	return nil
}

func (d *document) checkAddress(key, address string) error {
	if err := d.require(key, address, "want HOST:PORT"); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/@ ?#") {
		return d.errorf(key, "is %q; want HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return d.errorf(key, "has the port %q; want a number from 1 to 65535", port)
	}
	return nil
}

func (d *document) checkSelf(f *File) error {
	self := f.Self()
	if self.ID == "" {
		ids := make([]string, len(f.Controllers))
		for i, c := range f.Controllers {
			ids[i] = c.ID
		}
		return d.errorf("id", "is %q, which is none of controllers[].id (%s); add the controller there, or correct the id",
			f.ID, strings.Join(ids, ", "))
	}
	if f.Datacenter == "" {
		f.Datacenter = self.Datacenter
	}
	if f.Datacenter != self.Datacenter {
		return d.errorf("datacenter", "is %s, and controllers says %s of %s; make them the same, or leave one out",
			f.Datacenter, self.Datacenter, f.ID)
	}
	return nil
}

func (d *document) checkBind(f *File) error {
	self := f.Self()
	if f.Bind.Raft == "" {
		f.Bind.Raft = self.Raft
	}
	if f.Bind.HTTP == "" {
		f.Bind.HTTP = strings.TrimPrefix(self.HTTP, "http://")
	}
	if err := d.checkAddress("bind.raft", f.Bind.Raft); err != nil {
		return err
	}
	if err := d.checkAddress("bind.http", f.Bind.HTTP); err != nil {
		return err
	}
	if f.Bind.Raft == f.Bind.HTTP {
		return d.errorf("bind.http", "is %s, as bind.raft is; give each a port of its own", f.Bind.HTTP)
	}
	return nil
}

func (d *document) checkRaft(r Raft) error {
	for _, t := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"raft.heartbeat_timeout", r.HeartbeatTimeout, 5 * time.Millisecond},
		{"raft.election_timeout", r.ElectionTimeout, 5 * time.Millisecond},
		{"raft.leader_lease_timeout", r.LeaderLeaseTimeout, 5 * time.Millisecond},
		{"raft.commit_timeout", r.CommitTimeout, time.Millisecond},
	} {
		if t.value < t.least {
			return d.errorf(t.key, "is %s; want at least %s", t.value, t.least)
		}
	}
	if r.LeaderLeaseTimeout > r.HeartbeatTimeout {
		return d.errorf("raft.leader_lease_timeout", "is %s, more than raft.heartbeat_timeout (%s); "+
			"want no more, or two leaders could overlap", r.LeaderLeaseTimeout, r.HeartbeatTimeout)
	}
	if r.ElectionTimeout < r.HeartbeatTimeout {
		return d.errorf("raft.election_timeout", "is %s, less than raft.heartbeat_timeout (%s); want no less",
			r.ElectionTimeout, r.HeartbeatTimeout)
	}
	return nil
}

// checkName wants a name that can be a directory, a key and part of a URL.
func (d *document) checkName(key, name, what string) error {
	if err := d.require(key, name, what); err != nil {
		return err
	}
	if len(name) > 64 || !regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`).MatchString(name) {
		return d.errorf(key, "is %q; want 1 to 64 of A-Z a-z 0-9 . _ - that do not begin with a dot", clip(name))
	}
	return nil
}

func (d *document) require(key, value, remedy string) error {
	switch {
	case value != "":
		return nil
	case d.references[key] != "":
		return d.errorf(key, "is empty, as the environment variable %s is; set it (%s)", d.references[key], remedy)
	case d.has(key):
		return d.errorf(key, "is empty; %s", remedy)
	default:
		return d.errorf(key, "is missing; %s", remedy)
	}
}

func (d *document) positive(key string, value time.Duration) error {
	if value <= 0 {
		return d.errorf(key, "is %s; want a duration above 0, such as 500ms", value)
	}
	return nil
}

func (d *document) unique(seen map[string]string, value, key, remedy string) error {
	if other, taken := seen[value]; taken {
		return d.errorf(key, "is %s, as %s is; %s", value, other, remedy)
	}
	seen[value] = key
	return nil
}

// secret completes a secret that may stand in a file of its own.
func (d *document) secret(key string, value *Secret, path string) error {
	fileKey := key + "_file"
	switch {
	case d.has(key) && d.has(fileKey):
		return d.errorf(fileKey, "is given beside %s; keep one of them", key)
	case !d.has(fileKey):
		return d.require(key, value.Reveal(), "give it as ${NAME} from the environment, or in a file that "+fileKey+" names")
	case path == "":
		return d.errorf(fileKey, "is empty; name a file, or give %s instead", key)
	}
	data, err := readFile(path, maxSecret)
	if err != nil {
		return d.errorf(fileKey, "cannot be read (%w); name a file that this user may read", err)
	}
	*value = Secret(strings.TrimRight(string(data), "\r\n"))
	if *value == "" {
		return d.errorf(fileKey, "names %s, which is empty; write the secret into it", path)
	}
	return nil
}

// checkURL wants an address of HTTP without a path, and returns its scheme.
func (d *document) checkURL(key, text string) (scheme string, err error) {
	const want = "http://HOST:PORT or https://HOST:PORT"
	if err := d.require(key, text, "want "+want); err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", d.errorf(key, "is not of the form %s; write it so", want)
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
