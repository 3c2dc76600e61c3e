package config

import (
	"time"
)

// longestHeartbeat is as long as the store waits for an answer.
const longestHeartbeat = 5 * time.Second

func (d *Document) checkRaft(r *Raft) error {
	profile := r.Profile.timing()
	for _, t := range []struct {
		key   string
		value *time.Duration
		named time.Duration
		least time.Duration
	}{
		{"raft.heartbeat_timeout", &r.HeartbeatTimeout, profile.HeartbeatTimeout, 10 * time.Millisecond},
		{"raft.election_timeout", &r.ElectionTimeout, profile.ElectionTimeout, 10 * time.Millisecond},
		{"raft.leader_lease_timeout", &r.LeaderLeaseTimeout, profile.LeaderLeaseTimeout, 10 * time.Millisecond},
		{"raft.commit_timeout", &r.CommitTimeout, profile.CommitTimeout, time.Millisecond},
	} {
		if !d.Has(t.key) {
			*t.value = t.named
		}
		if *t.value < t.least {
			return d.Errorf(t.key, "is %s; want at least %s", *t.value, t.least)
		}
	}
	switch {
	case r.HeartbeatTimeout > longestHeartbeat:
		return d.Errorf("raft.heartbeat_timeout", "is %s; want at most %s, or a dead controller that leads is missed too late",
			r.HeartbeatTimeout, longestHeartbeat)
	case r.LeaderLeaseTimeout > r.HeartbeatTimeout:
		return d.Errorf("raft.leader_lease_timeout", "is %s, more than raft.heartbeat_timeout (%s); "+
			"want no more, or two leaders could overlap", r.LeaderLeaseTimeout, r.HeartbeatTimeout)
	case r.ElectionTimeout < r.HeartbeatTimeout:
		return d.Errorf("raft.election_timeout", "is %s, less than raft.heartbeat_timeout (%s); want no less",
			r.ElectionTimeout, r.HeartbeatTimeout)
	case r.CommitTimeout > r.HeartbeatTimeout:
		return d.Errorf("raft.commit_timeout", "is %s, more than raft.heartbeat_timeout (%s); want much less",
			r.CommitTimeout, r.HeartbeatTimeout)
	}
	return nil
}

// checkRaftTLS looks at this controller's certificate as the others will, so
// that what they would refuse is said here.
func (d *Document) checkRaftTLS(f *File) error {
	const at = "raft.tls"
	t := &f.Raft.TLS
	t.CA, t.Cert, t.Key = d.Path(t.CA), d.Path(t.Cert), d.Path(t.Key)
	if !t.Enabled() {
		if d.Has(at) {
			return d.Errorf(at, "is empty; give ca, cert and key, or remove it")
		}
		return nil
	}
	for _, file := range []struct{ key, path string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
		if file.path == "" {
			return d.Errorf(at, "lacks %s; give ca, cert and key, since every controller shows its certificate to the others",
				file.key)
		}
	}
	conf, err := t.Build()
	if err != nil {
		key, reason := fieldOf(at, err)
		return d.Errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
	}
	name := t.ServerName
	if name == "" {
		name = hostOf(f.Self().Raft)
	}
	if err := acceptable(conf, name); err != nil {
		return d.Errorf(at+".cert", "would not be accepted by the other controllers (%w); "+
			"want one of %s, for %s, that may be a server's and a client's", err, t.CA, name)
	}
	return nil
}
