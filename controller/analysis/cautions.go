package analysis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/topology"
)

const (
	// shortTimeout is the least time after which a source may stop waiting for
	// acknowledgements without a warning.
	shortTimeout = time.Hour
	// fewRetries is how many attempts to connect are too few: with one each
	// second they last for an hour.
	fewRetries = 3600
	// lateHeartbeat is the longest heartbeat period without a warning.
	lateHeartbeat = 10 * time.Second
)

// semiSyncCautions are about what acknowledgements promise.
func semiSyncCautions() []caution {
	return []caution{
		{NotEnoughValidSemiSyncReplicas, aboutMaster(func(p pictures) string {
			y := p.master().SemiSync
			if !y.SourceEnabled || y.SourceOn || y.Clients >= y.WaitCount {
				return ""
			}
			return fmt.Sprintf("%s has stopped waiting for acknowledgements: %d of %d acknowledging replicas are connected",
				p.Master, y.Clients, y.WaitCount)
		}), "enable semi-sync on more replicas; until then commits can be lost"},
		{SemiSyncCanDegrade, aboutMaster(func(p pictures) string {
			y := p.master().SemiSync
			if !y.SourceEnabled {
				return ""
			}
			var how []string
			if y.Timeout < shortTimeout {
				how = append(how, fmt.Sprintf("it waits for %s only", y.Timeout))
			}
			if !y.WaitNoReplica {
				how = append(how, "it does not wait with too few replicas connected")
			}
			if !y.AfterSync {
				how = append(how, "others read a commit before it is acknowledged (AFTER_COMMIT)")
			}
			if len(how) == 0 {
				return ""
			}
			return fmt.Sprintf("semi-sync on %s does not prove that nothing is lost: %s", p.Master, strings.Join(how, ", "))
		}), "set a timeout of days, wait_no_replica (wait_no_slave) on, and the wait point AFTER_SYNC"},
	}
}

// serverCautions are about single servers, whatever their role.
func serverCautions() []caution {
	return []caution{
		{BootsWritable, aboutEach(func(_ pictures, i *topology.Instance) string {
			if i.Boots != topology.BootsWritable {
				return ""
			}
			return "would come up writable after a restart, also when another server is the master by then"
		}), "set read_only=1 in its option file"},
		{GrantsPassFence, fencePassers, "revoke them (SUPER, CONNECTION_ADMIN, READ ONLY ADMIN, and so ALL PRIVILEGES on MariaDB)"},
		{ReplicaStopsRetrying, aboutEach(func(_ pictures, i *topology.Instance) string {
			r := i.Replication
			switch {
			case r == nil:
				return ""
			case gaveUp(r):
				return "has given up connecting to its source"
			case r.RetryCount > 0 && r.RetryCount < fewRetries:
				return fmt.Sprintf("gives up after %d attempts to connect to its source", r.RetryCount)
			}
			return ""
		}), "start its receiver where it is stopped, and set SOURCE_RETRY_COUNT (master_retry_count) to 86400; every repoint does"},
		{LateHeartbeat, aboutEach(func(_ pictures, i *topology.Instance) string {
			r := i.Replication
			switch {
			case r == nil || r.HeartbeatPeriod > 0 && r.HeartbeatPeriod <= lateHeartbeat:
				return ""
			case r.HeartbeatPeriod <= 0:
				return "asks its source for no heartbeat, so a frozen source is noticed very late"
			}
			return fmt.Sprintf("asks its source for a heartbeat every %s only, so a frozen source is noticed late", r.HeartbeatPeriod)
		}), "set SOURCE_HEARTBEAT_PERIOD (MASTER_HEARTBEAT_PERIOD) to a second; every repoint does"},
		{WritableReplica, aboutEach(func(p pictures, i *topology.Instance) string {
			if i.Key == p.Master || i.Replication == nil || i.ReadOnly {
				return ""
			}
			return "replicates and is not read-only, so it can get writes that nobody else has"
		}), "set read_only=1 on it"},
	}
}

// fencePassers names each account once, with the servers that have it.
func fencePassers(p pictures) []remark {
	by := map[string][]string{}
	first := topology.Key{}
	for _, i := range p.inOrder() {
		for _, account := range i.FencePassers {
			by[account] = append(by[account], i.Key.String())
		}
		if len(i.FencePassers) > 0 && (first.IsZero() || i.Key == p.Master) {
			first = i.Key
		}
	}
	if len(by) == 0 {
		return nil
	}
	r := remark{subject: first, sentence: fmt.Sprintf("these accounts write in spite of read_only, so no fence holds them: %s",
		strings.Join(slices.Sorted(maps.Keys(by)), ", "))}
	for _, account := range slices.Sorted(maps.Keys(by)) {
		r.evidence = append(r.evidence, fmt.Sprintf("%s on %s", account, strings.Join(by[account], ", ")))
	}
	return []remark{r}
}
