package topology

import (
	"time"

	"switchyard/controller/gtid"
)

// ThreadState is what a server says of one of its replication threads.
type ThreadState string

// The states of a replication thread, as servers print them.
const (
	ThreadStopped    ThreadState = "No"
	ThreadRunning    ThreadState = "Yes"
	ThreadConnecting ThreadState = "Connecting" // the receiver only: it retries
)

// Instance is what one successful probe read from a server.
type Instance struct {
	// Key is the canonical name, as discovery resolved it.
	Key Key
	// Address is where the probe connected to; it may differ from Key.
	Address Key

	Flavor   gtid.Flavor
	Version  string // as @@version prints it
	ServerID uint32
	// UUID is @@server_uuid; empty on MariaDB, which has none.
	UUID     string
	Hostname string // @@hostname
	// ReportHost and ReportPort are @@report_host and @@report_port; they may
	// be empty.
	ReportHost string
	ReportPort uint16

	ReadOnly          bool
	SuperReadOnly     bool // always false where the server does not know it
	CanSuperReadOnly  bool // the server knows super_read_only
	LogBin            bool
	LogReplicaUpdates bool
	BinlogFormat      string // ROW, MIXED or STATEMENT

	// GTIDMode is true where the server writes GTIDs (always on MariaDB).
	GTIDMode bool
	// Executed is every transaction the server has applied or written:
	// gtid_executed on MySQL; on MariaDB the union of gtid_binlog_state and
	// gtid_slave_pos.
	Executed gtid.Set

	// Uptime is the server's own, in whole seconds.
	Uptime time.Duration

	// Replication is nil on a server that replicates from nobody.
	Replication *Replication
	SemiSync    SemiSync

	// Replicas are the servers that receive from this one, raw as the server
	// names them (report_host:report_port, or the host of the dump thread with
	// this server's own port).
	Replicas []Key

	// BinlogPosition moves with each commit of the server: where its binary log
	// ended after the last one ("file:offset"), or the number of transactions where
	// the server tells no end without waiting behind a stuck commit; empty without
	// a log or GTIDs.
	BinlogPosition string
	// Boots is how the server would come up after a restart, as far as it says.
	Boots Boots
	// FencePassers are applications' accounts ("user@host") that may write in
	// spite of read_only.
	FencePassers []string
	// Filters are the replication filters in one line; empty for none.
	Filters string
	// Workers is the number of parallel appliers; 0 or 1 is one.
	Workers int
	// KeepsOrder is whether parallel appliers commit in the source's order.
	KeepsOrder bool
	// Unsupported has a sentence for each thing that keeps Switchyard from
	// recovering this server (several channels, Galera, group replication, a
	// binlog server).
	Unsupported []string

	DataCenter string
	Region     string
	// ClusterHint is what the operator's cluster-name query answered.
	ClusterHint string
	// Problems are remarks of the probe that did not make it fail, one
	// sentence each (an operator's query that failed, say).
	Problems []string
}

// Replication is the state of a server's one replication channel.
type Replication struct {
	// Source is the master pointer, raw as the server stores it.
	Source     Key
	SourceUUID string // MySQL only
	IO         ThreadState
	SQL        ThreadState
	IOErrno    int
	IOError    string
	SQLErrno   int
	SQLError   string
	// UsesGTID is true with SOURCE_AUTO_POSITION=1 or MASTER_USE_GTID.
	UsesGTID bool
	// Received is what the receiver has taken from its source, applied or
	// not: Retrieved_Gtid_Set on MySQL, Gtid_IO_Pos on MariaDB.
	Received gtid.Set
	// ReceivedTo is the receiver's position in the source's binary log
	// ("file:offset"), whose movement shows that events arrive.
	ReceivedTo string
	// AppliedTo is the applier's position in the same coordinates.
	AppliedTo string
	// Heartbeat changes whenever a heartbeat arrived: a timestamp where the
	// server keeps one, otherwise a counter.
	Heartbeat string
	// HeartbeatPeriod is how often an idle source sends one; 0 is unknown or off.
	HeartbeatPeriod time.Duration
	// Lag is nil while the server does not know it.
	Lag *time.Duration
	// Delay is the configured delay of the applier.
	Delay time.Duration
	TLS   bool // the receiver connects with TLS
	// RetryCount is how often the receiver tries to connect before it gives up;
	// 0 is unknown or without end.
	RetryCount int
}

// Received returns all that i holds or has taken from its source, applied or
// not: the set by which candidates are compared. Where both MariaDB threads
// are stopped, received but unapplied events will be dropped at the next
// start, so they do not count.
func (i *Instance) Received() gtid.Set {
	r := i.Replication
	if r == nil {
		return i.Executed
	}
	if i.Flavor == gtid.MariaDB && r.IO == ThreadStopped && r.SQL == ThreadStopped {
		return i.Executed
	}
	return i.Executed.Union(r.Received)
}

// SemiSync is the state of the semi-synchronous replication plugins.
type SemiSync struct {
	// Available is true where the server has the plugins (both of them).
	Available bool
	// SourceEnabled and ReplicaEnabled are the configured switches.
	SourceEnabled  bool
	ReplicaEnabled bool
	// SourceOn and ReplicaOn are the live status.
	SourceOn  bool
	ReplicaOn bool
	// Clients is the number of acknowledging replicas connected.
	Clients int
	// WaitCount is the number of acknowledgements a commit waits for.
	WaitCount int
	// Timeout is after how long a source without acknowledgements degrades to
	// asynchronous replication.
	Timeout time.Duration
	// WaitNoReplica is whether a source keeps waiting with too few replicas.
	WaitNoReplica bool
	// AfterSync is true with the lossless wait point.
	AfterSync bool
	// Waiting is the number of sessions whose commit waits for an acknowledgement.
	Waiting int
}

// Boots is how a server would come up after a restart.
type Boots string

// How a server would come up; empty where it does not say.
const (
	BootsReadOnly Boots = "read-only"
	BootsWritable Boots = "writable"
)
