package analysis

// Kind is the name of a finding or of a warning, as operators know it.
type Kind string

// NoProblem is that nothing is wrong.
const NoProblem Kind = "NoProblem"

// Findings about a master that does not answer.
const (
	// DeadMasterWithoutReplicas: it is dead and nobody replicates from it.
	DeadMasterWithoutReplicas Kind = "DeadMasterWithoutReplicas"
	// DeadMaster: it is dead, and all of its replicas answer.
	DeadMaster Kind = "DeadMaster"
	// DeadMasterAndReplicas: it and all of its replicas are dead.
	DeadMasterAndReplicas Kind = "DeadMasterAndReplicas"
	// DeadMasterAndSomeReplicas: it and some of its replicas are dead.
	DeadMasterAndSomeReplicas Kind = "DeadMasterAndSomeReplicas"
	// UnreachableMasterWithLaggingReplicas: it cannot be reached, replicas receive
	// from it, and all of them lag.
	UnreachableMasterWithLaggingReplicas Kind = "UnreachableMasterWithLaggingReplicas"
	// UnreachableMaster: it cannot be reached, and replicas receive from it or
	// another controller reaches it.
	UnreachableMaster Kind = "UnreachableMaster"
	// MasterRestarting: it ended its connections in order a moment ago.
	MasterRestarting Kind = "MasterRestarting"
)

// Findings about a master that answers and takes no writes, or soon will not.
const (
	// NoWriteableMaster: it is read-only. It is a structure warning too.
	NoWriteableMaster Kind = "NoWriteableMasterStructureWarning"
	// MasterFullDisk: its disk has no space left.
	MasterFullDisk Kind = "MasterFullDisk"
	// MasterReadOnlyDisk: its file system is read-only, or fails.
	MasterReadOnlyDisk Kind = "MasterReadOnlyDisk"
	// MasterTooManyConnections: it takes no more connections.
	MasterTooManyConnections Kind = "MasterTooManyConnections"
	// MasterStuckSemiSync: commits wait for acknowledgements that do not come.
	MasterStuckSemiSync Kind = "MasterStuckSemiSync"
	// MasterStalledWrites: a write does not return.
	MasterStalledWrites Kind = "MasterStalledWrites"
	// LockedSemiSyncMaster: it has too few acknowledging replicas, and commits
	// have waited for long.
	LockedSemiSyncMaster Kind = "LockedSemiSyncMaster"
	// LockedSemiSyncMasterHypothesis: it has too few acknowledging replicas.
	LockedSemiSyncMasterHypothesis Kind = "LockedSemiSyncMasterHypothesis"
	// MasterWithTooManySemiSyncReplicas: more replicas acknowledge than should.
	MasterWithTooManySemiSyncReplicas Kind = "MasterWithTooManySemiSyncReplicas"
)

// Findings about the replicas of a master that answers.
const (
	// MasterSingleReplicaNotReplicating: its only replica does not replicate.
	MasterSingleReplicaNotReplicating Kind = "MasterSingleReplicaNotReplicating"
	// MasterSingleReplicaDead: its only replica does not answer.
	MasterSingleReplicaDead Kind = "MasterSingleReplicaDead"
	// AllMasterReplicasNotReplicating: all replicas answer, and none replicates.
	AllMasterReplicasNotReplicating Kind = "AllMasterReplicasNotReplicating"
	// AllMasterReplicasNotReplicatingOrDead: no replica replicates, and some or
	// all do not answer.
	AllMasterReplicasNotReplicatingOrDead Kind = "AllMasterReplicasNotReplicatingOrDead"
	// FirstTierReplicaFailingToConnectToMaster: a replica of a master that
	// answers cannot connect to it.
	FirstTierReplicaFailingToConnectToMaster Kind = "FirstTierReplicaFailingToConnectToMaster"
)

// Findings about one of two servers that replicate from each other.
const (
	DeadCoMaster                      Kind = "DeadCoMaster"
	DeadCoMasterAndSomeReplicas       Kind = "DeadCoMasterAndSomeReplicas"
	UnreachableCoMaster               Kind = "UnreachableCoMaster"
	AllCoMasterReplicasNotReplicating Kind = "AllCoMasterReplicasNotReplicating"
)

// Findings about a server that replicates and has replicas.
const (
	// DeadIntermediateMasterWithSingleReplicaFailingToConnect: it is dead, and its
	// only replica tries to receive and cannot.
	DeadIntermediateMasterWithSingleReplicaFailingToConnect Kind = "DeadIntermediateMasterWithSingleReplicaFailingToConnect"
	// DeadIntermediateMasterWithSingleReplica: it is dead, and its only replica
	// does not try to receive.
	DeadIntermediateMasterWithSingleReplica Kind = "DeadIntermediateMasterWithSingleReplica"
	// DeadIntermediateMaster: it is dead, and all of its replicas answer.
	DeadIntermediateMaster Kind = "DeadIntermediateMaster"
	// DeadIntermediateMasterAndSomeReplicas: it and some of its replicas are dead.
	DeadIntermediateMasterAndSomeReplicas Kind = "DeadIntermediateMasterAndSomeReplicas"
	// DeadIntermediateMasterAndReplicas: it and all of its replicas are dead.
	DeadIntermediateMasterAndReplicas Kind = "DeadIntermediateMasterAndReplicas"
	// UnreachableIntermediateMasterWithLaggingReplicas: it cannot be reached,
	// replicas receive from it, and all of them lag.
	UnreachableIntermediateMasterWithLaggingReplicas Kind = "UnreachableIntermediateMasterWithLaggingReplicas"
	// UnreachableIntermediateMaster: it cannot be reached, and replicas receive
	// from it or another controller reaches it.
	UnreachableIntermediateMaster Kind = "UnreachableIntermediateMaster"
	// AllIntermediateMasterReplicasFailingToConnectOrDead: it answers, and all of
	// its replicas that answer try to receive from it and cannot.
	AllIntermediateMasterReplicasFailingToConnectOrDead Kind = "AllIntermediateMasterReplicasFailingToConnectOrDead"
	// AllIntermediateMasterReplicasNotReplicating: it answers, and none of its
	// replicas replicates.
	AllIntermediateMasterReplicasNotReplicating Kind = "AllIntermediateMasterReplicasNotReplicating"
)

// Structure warnings.
const (
	NoLoggingReplicas                Kind = "NoLoggingReplicasStructureWarning"
	NoFailoverSupport                Kind = "NoFailoverSupportStructureWarning"
	StatementAndMixedLoggingReplicas Kind = "StatementAndMixedLoggingReplicasStructureWarning"
	StatementAndRowLoggingReplicas   Kind = "StatementAndRowLoggingReplicasStructureWarning"
	MixedAndRowLoggingReplicas       Kind = "MixedAndRowLoggingReplicasStructureWarning"
	MultipleMajorVersions            Kind = "MultipleMajorVersionsLoggingReplicasStructureWarning"
	DifferentGTIDModes               Kind = "DifferentGTIDModesStructureWarning"
	ErrantGTID                       Kind = "ErrantGTIDStructureWarning"
	NotEnoughValidSemiSyncReplicas   Kind = "NotEnoughValidSemiSyncReplicasStructureWarning"
	// UnsupportedTopology: something that is not recovered, by name.
	UnsupportedTopology Kind = "UnsupportedTopology"
	// BootsWritable: a server would come up writable.
	BootsWritable Kind = "BootsWritableStructureWarning"
	// GrantsPassFence: accounts write in spite of read_only.
	GrantsPassFence Kind = "GrantsPassFenceStructureWarning"
	// ReplicaStopsRetrying: a replica gives up connecting, or has.
	ReplicaStopsRetrying Kind = "ReplicaStopsRetryingStructureWarning"
	// SemiSyncCanDegrade: commits may be acknowledged that no replica has.
	SemiSyncCanDegrade Kind = "SemiSyncCanDegradeStructureWarning"
	// LateHeartbeat: a frozen source is noticed late.
	LateHeartbeat Kind = "LateHeartbeatStructureWarning"
	// WritableReplica: a replica is not read-only.
	WritableReplica Kind = "WritableReplicaStructureWarning"
)
