package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"switchyard/sidecar/protocol"
)

// answerTime is how long a controller may take beyond what it was told to wait.
const answerTime = 2 * time.Second

// firstPause follows a failure; it doubles up to the longest.
const firstPause = 100 * time.Millisecond

// watch asks one controller after the other for newer tables, until ctx ends:
// the leader where it is known, as it sees what the proxies report.
func (a *Agent) watch(ctx context.Context) {
	at, failures := 0, 0
	for ctx.Err() == nil {
		c := a.controllers[at]
		began := a.now()
		reply, err := a.ask(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			a.unanswered(failures, c.ID(), err)
			at = (at + 1) % len(a.controllers)
			if failures < len(a.controllers) {
				continue // The next one may answer.
			}
			a.pause(ctx, failures/len(a.controllers))
			continue
		}
		failures = 0
		a.answered()
		if a.take(reply) {
			continue
		}
		if led := a.index(reply.Leader); led >= 0 {
			at = led
		} else {
			at = (at + 1) % len(a.controllers)
		}
		// One that answers at once, and with nothing that is new here, must not be
		// asked in a tight loop.
		if a.now().Sub(began) < a.config.Interval {
			a.sleep(ctx, a.config.Spread(a.config.Interval))
		}
	}
}

func (a *Agent) ask(ctx context.Context, c Controller) (protocol.Tables, error) {
	ctx, cancel := context.WithTimeout(ctx, a.config.Wait+answerTime)
	defer cancel()
	q := protocol.Watch{Sidecar: a.config.Sidecar, Run: a.config.Run, Datacenter: a.config.Datacenter,
		Reports: a.reports(), WaitMS: int(a.config.Wait.Milliseconds())}
	for _, cluster := range a.clusters() {
		h := a.held(cluster)
		k := protocol.Known{Cluster: cluster, Epoch: h.Table.Epoch, Revision: h.Table.Revision}
		if h.Partial {
			k.Revision-- // The directory did not say the readers: a controller has this revision's.
		}
		q.Known = append(q.Known, k)
	}
	return c.Watch(ctx, q)
}

// take offers what a controller knows, and reports whether any of it was news.
func (a *Agent) take(reply protocol.Tables) bool {
	from, news := follower, false
	if reply.Leader != "" && reply.Leader == reply.Controller {
		from = leader
	}
	ours := a.clusters()
	for _, table := range reply.Tables {
		if !slices.Contains(ours, table.Cluster) {
			continue
		}
		// What went wrong is logged, and asked for again.
		if _, verdict, err := a.offer(table, from, nil); err == nil && verdict == adopted {
			news = true
		}
	}
	return news
}

func (a *Agent) index(id string) int {
	return slices.IndexFunc(a.controllers, func(c Controller) bool { return c.ID() == id })
}

// unanswered notes that a controller failed, and says once that all of them did.
func (a *Agent) unanswered(failures int, id string, err error) {
	a.log.Debug("A controller did not answer.", "controller", id, "error", err)
	if failures < len(a.controllers) {
		return
	}
	a.mu.Lock()
	first := a.alone.IsZero()
	if first {
		a.alone = a.now()
	}
	a.mu.Unlock()
	if first {
		a.log.Warn("No controller answers. The proxies keep what was said last, and serve.", "error", err)
	}
}

func (a *Agent) answered() {
	a.mu.Lock()
	since := a.alone
	a.alone = time.Time{}
	a.mu.Unlock()
	if !since.IsZero() {
		a.log.Info("Controllers answer again.", "after", a.now().Sub(since).Round(time.Millisecond))
	}
}

// pause waits after failures, longer each time.
func (a *Agent) pause(ctx context.Context, failures int) {
	a.sleep(ctx, a.config.Spread(min(firstPause<<min(failures, 10), a.config.MaxBackoff)))
}

func (a *Agent) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// consult follows one cluster's record in the datacenter's directory, until ctx
// ends.
func (a *Agent) consult(ctx context.Context, cluster string) {
	var index uint64
	failures, told := 0, false
	for ctx.Err() == nil {
		began := a.now()
		record, next, err := a.directory.WatchRecord(ctx, cluster, index)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && record.Epoch.IsZero():
			index, failures = next, 0
		case err == nil:
			err = record.Validate()
			if err == nil && record.Cluster != cluster {
				err = errors.New("the record is of another cluster")
			}
			if err == nil && record.Revision == 0 {
				err = errors.New("the record does not say of which revision it is: it is older than the controllers' release")
			}
			index = next
			if err == nil {
				_, _, err = a.offer(record.Table(), directory, nil)
			}
		}
		if err == nil {
			if told {
				a.log.Info("The datacenter's directory is read again.", "cluster", cluster)
			}
			failures, told = 0, false
			if a.now().Sub(began) < a.config.Interval {
				a.sleep(ctx, a.config.Spread(a.config.Interval))
			}
			continue
		}
		index = 0
		failures++
		if !told && failures > 2 {
			told = true
			a.log.Warn("The datacenter's directory cannot be followed; controllers are asked all the same.", "cluster", cluster, "error", err)
		}
		a.pause(ctx, failures)
	}
}
