package failover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// adopt names the master of every cluster that was found and is not in the
// ledger yet, and remembers the servers of all.
func (l *Loop) adopt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	problems := map[string]string{}
	for _, p := range l.observer.Pictures() {
		if err := l.adoptOne(ctx, p); err != nil {
			problems[p.Name] = err.Error()
		}
	}
	for name, held := range l.ledger.State().Held {
		if _, said := problems[name]; !said {
			problems[name] = held.Aside() + "; its servers were not found yet"
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, problem := range problems {
		if l.problems[name] != problem {
			l.log.Warn("not adopted", "cluster", name, "reason", problem)
		}
	}
	l.problems = problems
}

func (l *Loop) adoptOne(ctx context.Context, p Picture) error {
	state := l.ledger.State()
	if state.Generation == 0 {
		return nil
	}
	if _, known := state.Clusters[p.Name]; !known {
		master, err := p.master()
		if err != nil {
			return fmt.Errorf("cluster %s is not adopted: %w", p.Name, err)
		}
		if held, restored := state.Held[p.Name]; restored {
			if err := l.readoptable(ctx, held, master); err != nil {
				return fmt.Errorf("cluster %s is held: %w; see who is its master, and say so by "+
					"`switchyard adopt %s --master HOST:PORT --reason TEXT`", p.Name, err, p.Name)
			}
		}
		if err := l.ledger.Propose(ctx, ledger.AdoptMaster{
			Cluster: p.Name, Master: master, UUID: p.UUIDs[master], At: l.cfg.Now(),
		}); err != nil {
			return fmt.Errorf("cluster %s is not adopted: %w", p.Name, err)
		}
		l.log.Info("adopted", "cluster", p.Name, "master", master.String())
	}
	return l.remember(ctx, p)
}

// readoptable says why the master of a cluster that a restored ledger holds cannot
// be adopted unasked: the backup may be older than the last failover.
func (l *Loop) readoptable(ctx context.Context, held ledger.Cluster, master topology.Key) error {
	switch {
	case held.Withdrawn:
		return fmt.Errorf("the ledger was restored, and at epoch %s of the backup nobody was served", held.Epoch)
	case held.Master != master:
		return fmt.Errorf("the ledger was restored, and at epoch %s of the backup its master was %s, not %s",
			held.Epoch, held.Master, master)
	case l.cfg.Higher == nil:
		return nil
	}
	if err := l.cfg.Higher(ctx, held.Name, held.Epoch); err != nil {
		return fmt.Errorf("the ledger was restored, and whether the backup knew all is not certain: %w", err)
	}
	return nil
}

// master is the one server of a cluster that can be its master, or why none is.
func (p Picture) master() (topology.Key, error) {
	var none topology.Key
	switch {
	case len(p.Strangers) > 0:
		return none, fmt.Errorf("its servers %v replicate from one that was never seen", p.Strangers)
	case len(p.Ring) > 2:
		return none, fmt.Errorf("%d of its servers replicate in a ring (%v), and no more than two co-masters are supported: "+
			"make one of them replicate from nobody", len(p.Ring), p.Ring)
	case len(p.Ring) == 2 && len(p.RingWritable) == 2:
		return none, fmt.Errorf("both co-masters (%v) are writable: make one of them read-only", p.Ring)
	case len(p.Ring) == 2 && len(p.Roots) == 0 && len(p.RingWritable) == 0:
		return none, fmt.Errorf("none of the co-masters (%v) is writable: make one of them writable", p.Ring)
	case len(p.Ring) == 2 && len(p.Roots) == 0:
		return p.RingWritable[0], nil
	case len(p.Ring) == 0 && len(p.Writable) == 1:
		return p.Writable[0], nil
	}
	return none, fmt.Errorf("its master is not clear: %d writable servers that replicate from nobody (%v), %d in all (%v)%s",
		len(p.Writable), p.Writable, len(p.Roots), p.Roots, p.ringNote())
}

func (p Picture) ringNote() string {
	if len(p.Ring) == 0 {
		return ""
	}
	return fmt.Sprintf(", beside the co-masters %v", p.Ring)
}

func (l *Loop) remember(ctx context.Context, p Picture) error {
	state := l.ledger.State()
	var fresh []ledger.ServerName
	for _, k := range p.Servers {
		if s, known := state.Servers[k]; !known || (s.UUID == "" && p.UUIDs[k] != "") {
			fresh = append(fresh, ledger.ServerName{Key: k, UUID: p.UUIDs[k]})
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	slices.SortFunc(fresh, func(a, b ledger.ServerName) int { return a.Key.Compare(b.Key) })
	if err := l.ledger.Propose(ctx, ledger.RememberServers{Cluster: p.Name, Servers: fresh, At: l.cfg.Now()}); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	return nil
}

// Problems says, by cluster name, why clusters that were found are not adopted.
func (l *Loop) Problems() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.problems))
	for k, v := range l.problems {
		out[k] = v
	}
	return out
}
