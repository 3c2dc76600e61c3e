package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// Peer is one controller of the cluster of controllers.
type Peer struct {
	ID string
	// RaftAddress is the HOST:PORT at which the others reach it.
	RaftAddress string
	// API is the URL of its HTTP API, and DataCenter where it is. They are written
	// into the ledger with the first change of the controllers.
	API, DataCenter string
}

// Timeouts are raft's clocks. Zero fields get the value of DefaultTimeouts.
type Timeouts struct {
	// Heartbeat is how long a follower hears nothing before it asks for an election.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes.
	Election time.Duration
	// LeaderLease is how long a leader goes on without a majority.
	LeaderLease time.Duration
	// Commit bounds how late a follower learns what was committed while there
	// is nothing else to send.
	Commit time.Duration
	// Network bounds one exchange with another controller.
	Network time.Duration
	// Propose bounds how long a command waits to be taken by a leader that is busy.
	Propose time.Duration
}

// DefaultTimeouts suits controllers on one LAN or in one region.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Heartbeat:   800 * time.Millisecond,
		Election:    800 * time.Millisecond,
		LeaderLease: 600 * time.Millisecond,
		// Every controller writes to its own datacenter's Consul, so a follower
		// that learns late publishes late.
		Commit:  10 * time.Millisecond,
		Network: 5 * time.Second,
		Propose: 5 * time.Second,
	}
}

// Compaction says when the raft log is cut. Zero fields get a default.
type Compaction struct {
	// Every is how often it is looked at.
	Every time.Duration
	// Entries is how many new entries make a snapshot worth it.
	Entries uint64
	// Keep is how many entries stay for followers that are a little behind.
	Keep uint64
	// SegmentBytes is the size of one file of the log.
	SegmentBytes int
}

// Config is what a Store needs to know.
type Config struct {
	// ID is this controller's name; it is one of Peers.
	ID string
	// LedgerID is the name that all controllers of this cluster share.
	LedgerID string
	// DataDir holds all that this controller keeps; nothing else is in it.
	DataDir string
	// Bind is the HOST:PORT to listen at, and Advertise the one at which the
	// others find it; an empty Advertise is this controller's entry of Peers.
	Bind      string
	Advertise string
	// Peers are the controllers by the configuration file. Those count until the
	// ledger has a set of its own; after that they are where to look at first.
	Peers []Peer
	// Join has a controller without a state wait until it is added to the others,
	// and never begin a cluster.
	Join bool
	// Settle is how long a controller that was removed still counts: the longest
	// lease that it may have granted, and the longest fence.
	Settle time.Duration
	// Progress asks a controller that is added how much of the ledger it has
	// applied. Without it nobody is given a vote.
	Progress func(ctx context.Context, one ledger.Controller) (applied uint64, err error)
	// Secret is known to all controllers, and to nobody else: both ends of a raft
	// connection prove it before raft hears a byte. Without TLS, who can change
	// what is on the wire can still take over a connection that has begun.
	Secret string
	// TLS returns this controller's certificate and, as RootCAs, whom to trust;
	// it is asked for each connection. ServerName is the name in the certificates
	// of all controllers; if it is empty, each has that of its address in Peers.
	// Without TLS, raft's traffic is neither encrypted nor signed.
	TLS func() (*tls.Config, error)

	Timeouts   Timeouts
	Compaction Compaction
	// MarkEvery is after how many entries of the raft log each controller keeps a
	// state for a comparison with the others; 0 is 256. All have the same.
	MarkEvery uint64
	// Now dates the first generation of a fresh ledger. Raft itself goes by the
	// machine's clock.
	Now func() time.Time

	// decode is codec's; a test has one that knows less, as an older release does.
	decode decoder
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	d := DefaultTimeouts()
	for _, field := range []struct{ have, want *time.Duration }{
		{&c.Timeouts.Heartbeat, &d.Heartbeat}, {&c.Timeouts.Election, &d.Election},
		{&c.Timeouts.LeaderLease, &d.LeaderLease}, {&c.Timeouts.Commit, &d.Commit},
		{&c.Timeouts.Network, &d.Network}, {&c.Timeouts.Propose, &d.Propose},
	} {
		if *field.have == 0 {
			*field.have = *field.want
		}
	}
	if c.Compaction.Every == 0 {
		c.Compaction.Every = 2 * time.Minute
	}
	if c.Compaction.Entries == 0 {
		c.Compaction.Entries = 4096
	}
	if c.Compaction.Keep == 0 {
		c.Compaction.Keep = 8192
	}
	if c.Compaction.SegmentBytes == 0 {
		c.Compaction.SegmentBytes = 8 << 20
	}
	if c.decode == nil {
		c.decode = codec.DecodeCommand
	}
	if c.MarkEvery == 0 {
		c.MarkEvery = markEvery
	}
	if self, ok := c.peer(c.ID); ok && c.Advertise == "" {
		c.Advertise = self.RaftAddress
	}
	c.Peers = slices.Clone(c.Peers)
	return c
}

func (c Config) peer(id string) (Peer, bool) {
	i := slices.IndexFunc(c.Peers, func(p Peer) bool { return p.ID == id })
	if i < 0 {
		return Peer{}, false
	}
	return c.Peers[i], true
}

// founders are the controllers of the configuration file, in order of their ids.
func (c Config) founders() ledger.Controllers {
	var all ledger.Controllers
	for _, p := range c.Peers {
		all.Members = append(all.Members, ledger.Controller{
			ID: p.ID, Raft: p.RaftAddress, API: p.API, DataCenter: p.DataCenter, Voter: true,
		})
	}
	slices.SortFunc(all.Members, func(a, b ledger.Controller) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// members returns the sorted ids of all controllers of the configuration file.
func (c Config) members() []string { return idsOf(c.founders()) }

func idsOf(c ledger.Controllers) []string {
	ids := make([]string, 0, len(c.Members))
	for _, m := range c.Members {
		ids = append(ids, m.ID)
	}
	return ids
}

// validate names the first setting that cannot be worked with.
func (c Config) validate() error {
	switch {
	case c.ID == "":
		return errors.New("id is empty: name this controller")
	case c.LedgerID == "":
		return errors.New("name of the cluster of controllers is empty: all controllers share one")
	case c.DataDir == "":
		return errors.New("data_dir is empty: name a directory for this controller's state")
	case c.Secret == "":
		return errors.New("secret is empty: give all controllers the same")
	case c.Now == nil:
		return errors.New("the clock is missing")
	}
	if err := badAddress(c.Bind, true); err != nil {
		return fmt.Errorf("bind.raft: %w", err)
	}
	if err := c.validatePeers(); err != nil {
		return err
	}
	self, ok := c.peer(c.ID)
	if !ok {
		return fmt.Errorf("peers: this controller's id %q is not among them: %q", c.ID, c.members())
	}
	if err := badAddress(c.Advertise, false); err != nil {
		return fmt.Errorf("advertise.raft: %w", err)
	}
	if c.Advertise != self.RaftAddress {
		return fmt.Errorf("advertise.raft is %s, but peers has %s for %q: is another controller using this id?",
			c.Advertise, self.RaftAddress, c.ID)
	}
	return c.validateTimes()
}

func (c Config) validatePeers() error {
	if len(c.Peers) == 0 {
		return errors.New("peers is empty: list all controllers, this one too")
	}
	ids, addresses := map[string]bool{}, map[string]string{}
	for i, p := range c.Peers {
		if p.ID == "" {
			return fmt.Errorf("peers[%d].id is empty", i)
		}
		if ids[p.ID] {
			return fmt.Errorf("peers: the id %q is there twice: every controller needs its own", p.ID)
		}
		if err := badAddress(p.RaftAddress, false); err != nil {
			return fmt.Errorf("peers: raft address of %q: %w", p.ID, err)
		}
		if other, taken := addresses[p.RaftAddress]; taken {
			return fmt.Errorf("peers: %q and %q share the raft address %s", other, p.ID, p.RaftAddress)
		}
		ids[p.ID], addresses[p.RaftAddress] = true, p.ID
	}
	return nil
}

func (c Config) validateTimes() error {
	t := c.Timeouts
	switch {
	case t.Heartbeat < 10*time.Millisecond, t.LeaderLease < 10*time.Millisecond:
		return fmt.Errorf("timeouts: heartbeat %s and leader lease %s must be 10ms or more", t.Heartbeat, t.LeaderLease)
	case t.LeaderLease > t.Heartbeat:
		return fmt.Errorf("timeouts: the leader lease %s is longer than the heartbeat %s: "+
			"there could be two leaders", t.LeaderLease, t.Heartbeat)
	case t.Election < t.Heartbeat:
		return fmt.Errorf("timeouts: election %s is shorter than heartbeat %s", t.Election, t.Heartbeat)
	case t.Commit < time.Millisecond, t.Network < t.Heartbeat, t.Propose < time.Millisecond:
		return fmt.Errorf("timeouts: commit %s and propose %s must be 1ms or more, network %s at least heartbeat",
			t.Commit, t.Propose, t.Network)
	case c.Compaction.SegmentBytes < 64<<10 || c.Compaction.Every < 5*time.Millisecond:
		return errors.New("compaction: a segment has 64 KiB or more, and is looked at every 5ms or less often")
	}
	return nil
}

// badAddress checks HOST:PORT; only an address to bind may leave the host out.
func badAddress(address string, bind bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT", address)
	}
	if host == "" && !bind {
		return fmt.Errorf("%q: the host is missing", address)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() && !bind {
		return fmt.Errorf("%q: nobody can reach this host, name one that the others see", address)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return fmt.Errorf("%q: want a port from 1 to 65535", address)
	}
	return nil
}
