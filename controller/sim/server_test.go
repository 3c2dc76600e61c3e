package sim_test

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// transaction is one that was ever committed anywhere.
type transaction struct {
	id     int
	origin *server
	set    gtid.Set
	// errant is true for one that no application wrote through a proxy.
	errant bool
	// acked is true once a client was told that it is committed; lossless where
	// semi-sync vouched for it at that time.
	acked, lossless bool
	at              time.Duration
}

// server is a pretend database server, with a binary log, a receiver and an
// applier.
type server struct {
	w    *world
	key  topology.Key
	id   uint32
	uuid string

	up, frozen, hostDown bool
	thawed, endedAt      time.Duration // when it last was, and did
	booted               time.Time
	startedAt            time.Duration // the same, of the story; long ago at first
	// life counts the starts; connections are of one of them.
	life int
	// readOnly is read_only, and super_read_only where there is one; operator is
	// true where somebody set it by hand, and nobody may set it back unasked.
	readOnly, operator bool
	unlogged           bool // it does not log what it applies
	// slow is of its disk, late of its receiver.
	slow, late bool

	binlog   []int
	has, got bits
	executed gtid.Set
	// retrieved is Retrieved_Gtid_Set, or Gtid_IO_Pos.
	retrieved gtid.Set
	last      uint64 // the highest sequence number seen, on MySQL of its own
	relay     []int

	// tail is what it takes of a crashed source, nil where it takes none.
	tail                []int
	source              *server
	io, sql             bool
	connected           bool
	sourceLife, next    int
	connectedAt         time.Duration
	ioError             string
	pumping, applying   bool
	retrying            bool
	semiSource, semiAck bool
	waitFor             int
	waiting             []*commit
	session             *session
	queue               []func()
	beats               int
	// flowing is whether its source's events reach it, silent since when not;
	// disturbed when some controller last could not see it.
	flowing, unseen   bool
	silent, disturbed time.Duration
	// tainted is true for a replica that ever was out of sight or restarted: what
	// it alone received may be lost.
	tainted bool
	lost    map[string]absence // by controller
}

// commit is one that waits for acknowledgements.
type commit struct {
	t      *transaction
	acks   []*server
	client bool // a client still waits for it
}

// bits is a set of transactions by id.
type bits []uint64

func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 == 1 }

func (b *bits) add(i int) {
	for len(*b) <= i/64 {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

// lacks returns the first transaction of o that b has not, or -1.
func (b bits) lacks(o bits) int {
	for n, word := range o {
		var mine uint64
		if n < len(b) {
			mine = b[n]
		}
		if extra := word &^ mine; extra != 0 {
			for i := range 64 {
				if extra>>i&1 == 1 {
					return n*64 + i
				}
			}
		}
	}
	return -1
}

func keyOf(n int) topology.Key { return topology.Key{Host: "db" + strconv.Itoa(n), Port: 3306} }

func (w *world) newServer(n int) *server {
	s := &server{
		w: w, key: keyOf(n), id: uint32(n), up: true, readOnly: true,
		booted: time.Now().Add(-time.Hour), startedAt: -time.Hour, waitFor: w.cfg.waitFor, lost: map[string]absence{},
	}
	if w.cfg.mariadb {
		s.executed, _ = gtid.ParseMariaDB(s.id, "")
	} else {
		s.uuid = fmt.Sprintf("00000000-0000-0000-0000-%012d", n)
	}
	return s
}

// write commits one transaction here.
func (s *server) write(errant bool) *transaction {
	s.last++
	t := &transaction{id: len(s.w.transactions), origin: s, errant: errant, at: s.w.now()}
	var err error
	if s.w.cfg.mariadb {
		t.set, err = gtid.ParseMariaDB(0, fmt.Sprintf("0-%d-%d", s.id, s.last))
	} else {
		t.set, err = gtid.ParseMySQL(fmt.Sprintf("%s:%d", s.uuid, s.last))
	}
	if err != nil {
		panic(err)
	}
	s.w.transactions = append(s.w.transactions, t)
	s.w.seqs = append(s.w.seqs, s.last)
	s.take(t)
	return t
}

// take executes a transaction, its own or one that it received.
func (s *server) take(t *transaction) {
	if s.has.has(t.id) {
		return
	}
	s.has.add(t.id)
	s.got.add(t.id)
	s.executed = s.executed.Union(t.set)
	if !s.unlogged || t.origin == s {
		s.binlog = append(s.binlog, t.id)
	}
	if s.w.cfg.mariadb {
		s.last = max(s.last, s.w.seqs[t.id])
	}
	s.feed()
}

// feed has the replicas of s take what is new.
func (s *server) feed() {
	for _, r := range s.w.servers {
		if r.source == s {
			r.pump()
		}
	}
}

func (s *server) pump() {
	if s.pumping || !s.io || !s.connected || s.source == nil {
		return
	}
	s.pumping = true
	d := s.w.latency()
	if s.late {
		d = s.w.between(20*time.Millisecond, 600*time.Millisecond)
	}
	s.w.after(d, func() { s.pumping = false; s.receive() })
}

// receive takes all that the source has and this server lacks.
func (s *server) receive() {
	src := s.source
	if !s.alive() || !s.io || !s.connected || src == nil || !src.alive() || s.w.cut(s.key.Host, src.key.Host) {
		return // whoever ends that feeds it again
	}
	if src.life != s.sourceLife {
		s.disconnect("lost connection to the source")
		return
	}
	for ; s.next < len(src.binlog); s.next++ {
		s.hold(src.binlog[s.next])
	}
	s.apply()
	if s.semiAck && src.semiSource {
		life := src.life
		s.w.after(s.w.latency(), func() {
			if src.life == life && src.alive() && !s.w.cut(s.key.Host, src.key.Host) {
				src.acknowledge(s)
			}
		})
	}
}

// hold receives one transaction.
func (s *server) hold(id int) {
	if s.got.has(id) {
		return
	}
	s.got.add(id)
	s.relay = append(s.relay, id)
	t := s.w.transactions[id]
	if s.w.cfg.mariadb {
		s.retrieved = t.set
	} else {
		s.retrieved = s.retrieved.Union(t.set)
	}
}

// acknowledge counts that r has received what it has.
func (s *server) acknowledge(r *server) {
	var rest []*commit
	for _, c := range s.waiting {
		if r.got.has(c.t.id) && !slices.Contains(c.acks, r) {
			c.acks = append(c.acks, r)
		}
		if len(c.acks) < s.waitFor {
			rest = append(rest, c)
			continue
		}
		if c.client {
			c.t.acked, c.t.lossless = true, true
			s.w.stats.acked++
		}
	}
	s.waiting = rest
}

func (s *server) apply() {
	if s.applying || !s.sql || len(s.relay) == 0 {
		return
	}
	s.applying = true
	d := s.w.between(time.Millisecond, 4*time.Millisecond)
	if s.slow {
		d = s.w.between(40*time.Millisecond, 250*time.Millisecond)
	}
	s.w.after(d, func() {
		s.applying = false
		if !s.alive() || !s.sql || len(s.relay) == 0 {
			return
		}
		n := len(s.relay)
		if s.slow {
			n = 1
		}
		batch := slices.Clone(s.relay[:n])
		s.relay = slices.Clone(s.relay[n:])
		for _, id := range batch {
			s.take(s.w.transactions[id])
		}
		s.apply()
	})
}

// connect tries to reach the source, again each second until it does.
func (s *server) connect() {
	if s.retrying || !s.io || s.connected || s.source == nil || s.tail != nil {
		return
	}
	s.retrying = true
	pause := s.w.latency()
	if s.ioError != "" {
		pause = s.w.between(700*time.Millisecond, time.Second)
	}
	s.w.after(pause, func() {
		s.retrying = false
		if !s.alive() || !s.io || s.connected || s.source == nil {
			return
		}
		if !s.source.alive() || s.w.cut(s.key.Host, s.source.key.Host) {
			s.ioError = "error connecting to source"
			s.connect()
			return
		}
		s.connected, s.ioError, s.next = true, "", 0
		s.sourceLife, s.connectedAt = s.source.life, s.w.now()
		s.pump() // also where nothing is new: what was received before is acknowledged
	})
}

func (s *server) disconnect(why string) {
	s.connected, s.ioError = false, why
	s.beats += 1 + int((s.w.now()-s.connectedAt)/time.Second)
	s.connect()
}

func (s *server) alive() bool { return s.up && !s.frozen }

// dropRelay forgets what was received and not applied.
func (s *server) dropRelay() {
	s.relay = nil
	s.got = slices.Clone(s.has)
	s.retrieved = gtid.Set{}
}

// follow sets the source and starts both threads; nil detaches.
func (s *server) follow(source *server) {
	s.dropRelay()
	s.tail = nil
	s.source, s.connected, s.ioError = source, false, ""
	s.io, s.sql = source != nil, source != nil
	s.beats++
	s.connect()
}

func (s *server) start() {
	if s.w.cfg.mariadb && !s.io && !s.sql {
		s.dropRelay()
	}
	s.io, s.sql = true, true
	s.connect()
	s.apply()
}

func (s *server) stopIO() { s.io, s.connected = false, false }

// instance is what a probe reads.
func (s *server) instance() *topology.Instance {
	i := &topology.Instance{
		Key: s.key, Address: s.key, Flavor: gtid.MySQL, Version: "9.7.0", ServerID: s.id, UUID: s.uuid,
		Hostname: s.key.Host, ReadOnly: s.readOnly, LogBin: true, LogReplicaUpdates: !s.unlogged, BinlogFormat: "ROW",
		GTIDMode: true, Executed: s.executed, Uptime: time.Since(s.booted).Truncate(time.Second),
		BinlogPosition: "bin:" + strconv.Itoa(len(s.binlog)), Boots: topology.BootsReadOnly,
		SemiSync: topology.SemiSync{
			Available: true, SourceEnabled: s.semiSource, ReplicaEnabled: s.semiAck, SourceOn: s.semiSource,
			ReplicaOn: s.semiAck && s.connected, WaitCount: s.waitFor, Timeout: time.Hour, WaitNoReplica: true, AfterSync: true,
			Waiting: len(s.waiting),
		},
	}
	if s.w.cfg.mariadb {
		i.Flavor, i.Version = gtid.MariaDB, "10.11.0-MariaDB"
	} else {
		i.CanSuperReadOnly, i.SuperReadOnly = true, s.readOnly
	}
	for _, r := range s.w.servers {
		if r.source == s && r.io && r.connected && r.alive() {
			i.Replicas = append(i.Replicas, r.key)
			if r.semiAck {
				i.SemiSync.Clients++
			}
		}
	}
	if s.source != nil {
		i.Replication = s.replication()
	}
	return i
}

func (s *server) replication() *topology.Replication {
	r := &topology.Replication{
		Source: s.source.key, SourceUUID: s.source.uuid, IO: topology.ThreadStopped, SQL: topology.ThreadStopped,
		UsesGTID: true, Received: s.retrieved, ReceivedTo: "bin:" + strconv.Itoa(s.next),
		AppliedTo: "bin:" + strconv.Itoa(s.next-len(s.relay)), HeartbeatPeriod: time.Second,
	}
	if s.w.cfg.mariadb && s.retrieved.IsEmpty() {
		r.Received = s.executed
	}
	switch {
	case s.io && s.connected:
		r.IO = topology.ThreadRunning
	case s.io:
		r.IO, r.IOError, r.IOErrno = topology.ThreadConnecting, s.ioError, 2003
	}
	if s.sql {
		r.SQL = topology.ThreadRunning
		lag := time.Duration(0)
		if len(s.relay) > 0 {
			lag = s.w.now() - s.w.transactions[s.relay[0]].at
		}
		if s.connected {
			r.Lag = &lag
		}
	}
	beats := s.beats
	if s.connected {
		beats += int((s.w.lastContact(s) - s.connectedAt) / time.Second)
	}
	r.Heartbeat = strconv.Itoa(beats)
	return r
}
