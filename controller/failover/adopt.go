package failover

import (
	"context"
	"fmt"
	"slices"
	"time"

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
		if len(p.Strangers) > 0 {
			return fmt.Errorf("cluster %s is not adopted: its servers %v replicate from one that was never seen", p.Name, p.Strangers)
		}
		if len(p.Writable) != 1 {
			return fmt.Errorf("cluster %s is not adopted: its master is not clear: %d writable servers that replicate from nobody (%v), %d in all (%v)",
				p.Name, len(p.Writable), p.Writable, len(p.Roots), p.Roots)
		}
		master := p.Writable[0]
		if err := l.ledger.Propose(ctx, ledger.AdoptMaster{
			Cluster: p.Name, Master: master, UUID: p.UUIDs[master], At: l.cfg.Now(),
		}); err != nil {
			return fmt.Errorf("cluster %s is not adopted: %w", p.Name, err)
		}
		l.log.Info("adopted", "cluster", p.Name, "master", master.String())
	}
	return l.remember(ctx, p)
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
