package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// world is all that the drawn part of a scenario says.
type world struct {
	snapshot topology.Snapshot
	policy   policy.Cluster
	// input has what is remembered of the cluster's past.
	input safety.Input
	// former are servers that an unfinished recovery detached.
	former []topology.Key
	// switchover asks for a switchover instead of judging a failure.
	switchover bool
	// named is to whom; zero for the best.
	named topology.Key
	// force asks for a failover in spite of every doubt.
	force bool
	// openRelocation is the id of a relocation that has not ended.
	openRelocation string
}

// readWorld reads the drawn part of a scenario.
func readWorld(text string) (world, error) {
	w := world{policy: policy.Cluster{
		Recover: true, RecoverIntermediate: true, Controllers: 3, MinStall: 1500 * time.Millisecond,
		RestartGrace: 5 * time.Second, AntiFlap: 10 * time.Minute, Proxies: 1, Partition: policy.PartitionHold,
		Backlog: policy.BacklogDelay, LockedAfter: 10 * time.Second, SemiSyncRepair: policy.SemiSyncLeave,
		SemiSync: policy.SemiSyncAuto, ReasonableLag: 10 * time.Second, CascadeLimit: 3, CascadeWindow: time.Hour,
		Rules: map[topology.Key]policy.Rule{}, FailoverAfter: map[topology.Trouble]time.Duration{},
	}}
	var drawn []string
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		var err error
		switch {
		case len(words) == 0:
		case words[0] == "policy":
			err = each(words[1:], w.setPolicy)
		case words[0] == "rule" && len(words) == 3:
			w.policy.Rules[sketch.Key(words[1])], err = policy.ParseRule(words[2])
		case words[0] == "history":
			err = each(words[1:], w.setHistory)
		case words[0] == "ask" && len(words) == 2 && words[1] == "switchover":
			w.switchover = true
		case words[0] == "ask" && len(words) == 2 && words[1] == "force":
			w.force = true
		case words[0] == "ask" && len(words) == 3 && words[1] == "switchover":
			w.switchover, w.named = true, sketch.Key(words[2])
		default:
			drawn = append(drawn, line)
		}
		if err != nil {
			return w, fmt.Errorf("%q: %w", line, err)
		}
	}
	var err error
	w.snapshot, err = sketch.Parse(strings.Join(drawn, "\n"))
	return w, err
}

func each(words []string, set func(name, value string) error) error {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if err := set(name, strings.ReplaceAll(value, "_", " ")); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil
}

// setPolicy reads a word of a policy line; switches are yes or no.
func (w *world) setPolicy(name, value string) error {
	p := &w.policy
	switches := map[string]*bool{
		"recover": &p.Recover, "recover-intermediate": &p.RecoverIntermediate, "co-master-only": &p.CoMasterOnly,
		"prevent-cross-dc": &p.PreventCrossDataCenter, "prevent-cross-region": &p.PreventCrossRegion,
	}
	numbers := map[string]*int{"controllers": &p.Controllers, "proxies": &p.Proxies, "cascade-limit": &p.CascadeLimit}
	spans := map[string]*time.Duration{
		"min-stall": &p.MinStall, "restart-grace": &p.RestartGrace, "anti-flap": &p.AntiFlap, "max-lag": &p.MaxLag,
		"locked-after": &p.LockedAfter, "reasonable-lag": &p.ReasonableLag, "cascade-window": &p.CascadeWindow,
		"lost-downtime": &p.LostDowntime, "salvage-timeout": &p.SalvageTimeout,
	}
	trouble, isTrouble := strings.CutPrefix(name, "failover-after-")
	var err error
	switch {
	case switches[name] != nil:
		*switches[name], err = value == "yes", want(value, "yes", "no")
	case numbers[name] != nil:
		*numbers[name], err = strconv.Atoi(value)
	case spans[name] != nil:
		*spans[name], err = time.ParseDuration(value)
	case isTrouble:
		p.FailoverAfter[topology.Trouble(trouble)], err = time.ParseDuration(value)
	case name == "partition":
		p.Partition, err = policy.Partition(value), want(value, "hold", "failover")
	case name == "unreachable-proxies":
		p.UnreachableProxies, err = policy.Proxies(value), want(value, "fast", "strict")
	case name == "backlog":
		p.Backlog, err = policy.Backlog(value), want(value, "delay", "fail")
	case name == "semi-sync":
		p.SemiSync, err = policy.SemiSync(value), want(value, "auto", "on", "off")
	case name == "semi-sync-repair":
		p.SemiSyncRepair, err = policy.SemiSyncRepair(value), want(value, "none", "enough", "exact")
	case name == "paused": // by_whom_and_why
		p.Paused = value
	default:
		return fmt.Errorf("no such policy")
	}
	return err
}

// setHistory reads a word of a history line; times are how long ago.
func (w *world) setHistory(name, value string) error {
	in := &w.input
	switch name {
	case "open": // the id of a recovery that has not ended
		in.OpenRecovery = value
	case "open-relocation": // the id of one that has not ended
		w.openRelocation = value
	case "hook-failed": // which_and_how
		in.HookFailed = value
	case "lease": // of the master's database sidecar, where there are any
		in.Lease = &safety.Lease{}
		if value == "promised" {
			in.Lease.Promise = "its sidecar said that it holds the lease"
		} else {
			in.Lease.Missing = "its sidecar was never heard"
		}
		return want(value, "promised", "missing")
	case "silent-proxy": // one that may lead to the master, and does not answer
		in.Unknown = append(in.Unknown, value)
	case "last-failover":
		ago, err := time.ParseDuration(value)
		in.LastAutomatic = sketch.Start.Add(-ago)
		return err
	case "crash": // an automatic failover of a proven crash ended; may be said often
		ago, err := time.ParseDuration(value)
		in.Crashes = append(in.Crashes, sketch.Start.Add(-ago))
		return err
	case "former": // a server that an unfinished recovery detached
		w.former = append(w.former, sketch.Key(value))
	default:
		return fmt.Errorf("no such history")
	}
	return nil
}

func want(value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(allowed, " or "))
}
