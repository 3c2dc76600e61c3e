package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/topology"
)

func (d *Document) checkMySQL(m *MySQL) error {
	m.PasswordFile, m.CredentialsFile = d.Path(m.PasswordFile), d.Path(m.CredentialsFile)
	m.TLS.CA, m.TLS.Cert, m.TLS.Key = d.Path(m.TLS.CA), d.Path(m.TLS.Cert), d.Path(m.TLS.Key)
	return firstOf(
		func() error { return d.checkCredentials(m) },
		func() error { return d.checkTLSKeys("mysql.tls", m.TLS.Mode, m.TLS.CA, m.TLS.Cert, m.TLS.Key) },
		func() error {
			if _, err := m.TLS.Build(); err != nil {
				key, reason := fieldOf("mysql.tls", err)
				return d.Errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
			}
			return nil
		},
		func() error { return d.Positive("mysql.connect_timeout", m.ConnectTimeout) },
		func() error { return d.Positive("mysql.probe_timeout", m.ProbeTimeout) },
		func() error { return d.Positive("mysql.probe_interval", m.ProbeInterval) },
	)
}

func (d *Document) checkCredentials(m *MySQL) error {
	const fileKey = "mysql.credentials_file"
	if !d.Has(fileKey) {
		remedy := "name the account of the controllers, or an option file in " + fileKey
		if err := d.Require("mysql.user", m.User, remedy); err != nil {
			return err
		}
		return d.TakeSecret("mysql.password", &m.Password, m.PasswordFile)
	}
	for _, key := range []string{"mysql.user", "mysql.password", "mysql.password_file"} {
		if d.Has(key) {
			return d.Errorf(key, "is given beside %s; keep one of them", fileKey)
		}
	}
	if err := d.Require(fileKey, m.CredentialsFile, "name an option file with user and password"); err != nil {
		return err
	}
	data, err := readFile(m.CredentialsFile, maxSecret)
	if err != nil {
		return d.Errorf(fileKey, "cannot be read (%w); name a file that this user may read", err)
	}
	if m.User, m.Password, err = credentials(data); err != nil {
		return d.Errorf(fileKey, "names %s, which %w", m.CredentialsFile, err)
	}
	return nil
}

// checkTLSKeys refuses files that the mode would not look at: who gives them
// believes that something is verified.
func (d *Document) checkTLSKeys(parent string, mode TLSMode, ca, cert, key string) error {
	switch {
	case (cert == "") != (key == ""):
		return d.Errorf(parent, "has only one of cert and key; give both, or neither")
	case cert != "" && mode == TLSDisabled:
		return d.Errorf(parent+".cert", "is not used, since %s.mode is disabled; set the mode, or remove it", parent)
	case ca != "" && mode != TLSVerifyCA && mode != TLSVerifyIdentity:
		return d.Errorf(parent+".ca", "is not used, since %s.mode is %s; set the mode to verify_ca or verify_identity, "+
			"or remove it", parent, mode)
	case ca == "" && mode == TLSVerifyCA:
		return d.Errorf(parent+".ca", "is missing, which verify_ca verifies with; name the CA's PEM file")
	}
	return nil
}

// maxReplicationPassword is what CHANGE MASTER and CHANGE REPLICATION SOURCE
// take; finding out in the middle of a recovery would be late.
const maxReplicationPassword = 32

func (d *Document) checkReplication(r *Replication) error {
	const parent = "mysql.replication"
	r.PasswordFile = d.Path(r.PasswordFile)
	return firstOf(
		func() error {
			return d.Require(parent+".user", r.User, "name the account that replicas connect to their master with")
		},
		func() error { return d.TakeSecret(parent+".password", &r.Password, r.PasswordFile) },
		func() error {
			if n := len(r.Password.Reveal()); n > maxReplicationPassword {
				return d.Errorf(parent+".password", "has %d characters; choose one of at most %d, "+
					"which is what servers take for a replica's password", n, maxReplicationPassword)
			}
			if r.TLS.Mode == TLSPreferred {
				return d.Errorf(parent+".tls.mode", "is preferred, which servers do not have for replication; "+
					"want disabled, required, verify_ca or verify_identity")
			}
			return d.checkTLSKeys(parent+".tls", r.TLS.Mode, r.TLS.CA, r.TLS.Cert, r.TLS.Key)
		},
		func() error { return d.Positive(parent+".heartbeat_period", r.HeartbeatPeriod) },
		func() error {
			if r.HeartbeatPeriod%time.Millisecond != 0 {
				return d.Errorf(parent+".heartbeat_period", "is %s; want whole milliseconds", r.HeartbeatPeriod)
			}
			if r.ConnectRetry < time.Second || r.ConnectRetry%time.Second != 0 {
				return d.Errorf(parent+".connect_retry", "is %s; want whole seconds, at least 1s", r.ConnectRetry)
			}
			if r.RetryCount < 0 || int64(r.RetryCount) > math.MaxUint32 {
				return d.Errorf(parent+".retry_count", "is %d; want a number from 0, which is no limit, to %d",
					r.RetryCount, uint32(math.MaxUint32))
			}
			return nil
		},
	)
}

func (d *Document) checkDiscovery(f *File) error {
	c := f.Discovery
	if err := d.checkSeeds("discovery.seeds", c.Seeds); err != nil {
		return err
	}
	for _, p := range []struct {
		key     string
		pattern Pattern
	}{
		{"discovery.cluster_name_pattern", c.ClusterNamePattern},
		{"discovery.datacenter_pattern", c.DatacenterPattern},
		{"discovery.region_pattern", c.RegionPattern},
	} {
		if re := p.pattern.Regexp(); re != nil && re.NumSubexp() != 1 {
			return d.Errorf(p.key, "has %d groups; want exactly one (...) around the name", re.NumSubexp())
		}
	}
	for i, p := range c.Ignore {
		if key := fmt.Sprintf("discovery.ignore[%d]", i); p.Regexp() == nil {
			return d.Errorf(key, "is empty, which would ignore every server; give an expression, or remove it")
		}
	}
	if len(c.Seeds) > 0 && !f.namesClusters() {
		return d.Errorf("discovery.seeds", "lead to clusters without a name; set discovery.cluster_name_pattern or "+
			"mysql.cluster_name_query, or put the seeds into clusters")
	}
	if len(c.Seeds) == 0 && !slices.ContainsFunc(f.Clusters, func(c Cluster) bool { return len(c.Seeds) > 0 }) {
		return d.Errorf("clusters", "has no seeds, and neither has discovery; name a cluster with one of its servers in seeds")
	}
	return nil
}

// namesClusters reports whether clusters may have names that the file does not
// have.
func (f *File) namesClusters() bool {
	return f.Discovery.ClusterNamePattern.Regexp() != nil || f.MySQL.ClusterNameQuery != ""
}

func (d *Document) checkSeeds(key string, seeds []topology.Key) error {
	for i, seed := range seeds {
		if at := fmt.Sprintf("%s[%d]", key, i); seed.IsZero() {
			return d.Errorf(at, "is empty; want HOST:PORT")
		}
	}
	return nil
}

func (d *Document) checkClusters(f *File) error {
	names, seeds := map[string]string{}, map[string]string{}
	for i, c := range f.Clusters {
		at := fmt.Sprintf("clusters[%d]", i)
		if err := d.CheckClusterName(at+".name", c.Name); err != nil {
			return err
		}
		if err := d.Unique(names, c.Name, at+".name", "give every cluster a name of its own"); err != nil {
			return err
		}
		if len(c.Seeds) == 0 && !f.namesClusters() {
			return d.Errorf(at+".seeds", "is missing; name at least one server of %s", c.Name)
		}
		if err := d.checkSeeds(at+".seeds", c.Seeds); err != nil {
			return err
		}
		for j, seed := range c.Seeds {
			key := fmt.Sprintf("%s.seeds[%d]", at, j)
			if err := d.Unique(seeds, seed.String(), key, "a server belongs to one cluster; remove one"); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckClusterName adds a rule to discovery's: proxies and tools take a name
// that begins with a dot for a hidden one.
func (d *Document) CheckClusterName(key, name string) error {
	if err := d.Require(key, name, "name the cluster; it becomes a key in Consul and part of URLs"); err != nil {
		return err
	}
	if err := discovery.CheckName(name); err != nil {
		return d.Errorf(key, "becomes a key in Consul and part of URLs: %w", err)
	}
	if strings.HasPrefix(name, ".") {
		return d.Errorf(key, "is %q; want a name that does not begin with a dot, since it becomes a key in Consul "+
			"and part of URLs", name)
	}
	return nil
}
