package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/workload"
)

const (
	// keepAntiFlap is short, so that a second master can be killed soon after the first.
	keepAntiFlap = 30 * time.Second
	// comeBack is how long a killed server stays away, as if its host had to start it.
	comeBack = 10 * time.Second
	// keepRate leaves the machine to whoever plays with it.
	keepRate = 100
	// worthTelling is the shortest outage that is reported while playing.
	worthTelling = 100 * time.Millisecond
	// longOutage is how long an outage that has not ended goes untold.
	longOutage = 5 * time.Second
)

// keep leaves everything running until ctx ends, which is its ordinary end. The application writes on, outages are
// told, and killed servers are started again.
func (d *demo) keep(ctx context.Context) error {
	d.instructions()
	account := stack.AppAccount()
	app, err := workload.New(workload.Config{Address: d.site.Proxies[0].Listen, User: account.User, Password: account.Password,
		Schema: stack.AppSchema, FirstWorker: 1000, Rate: keepRate})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	d.tend(ctx, app)
	d.progress("ending everything")
	return <-done
}

// tend looks after a kept demo until ctx ends.
func (d *demo) tend(ctx context.Context, app *workload.Workload) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	dead := map[*stack.Server]time.Time{}
	gaps := &gaps{since: time.Now()}
	standings := standings{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if ctx.Err() != nil {
				return // The end of the demo is no server's death.
			}
			if news := gaps.look(app.Acked(), time.Now()); news != "" {
				d.progress("%s", news)
			}
			app.Forget(gaps.since)
			for _, server := range d.site.Servers() {
				d.revive(ctx, server, dead)
			}
			for _, news := range standings.look(d.nodes(ctx)) {
				d.progress("%s", news)
			}
		}
	}
}

// nodes are the servers as the controllers see them: none while whoever plays with the demo has left no controller
// that answers.
func (d *demo) nodes(ctx context.Context) []wire.Node {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	t, err := d.topology(ctx)
	if err != nil {
		return nil
	}
	return t.Nodes
}

// gaps finds outages in what is acknowledged.
type gaps struct {
	// since is the last acknowledgement that was looked at.
	since time.Time
	// open is true when an outage that has not ended was told.
	open bool
}

// look returns what is to be told of the writes since the last look.
func (g *gaps) look(writes []workload.Write, now time.Time) string {
	if len(writes) > 0 && writes[len(writes)-1].Ack.After(g.since) {
		last := writes[len(writes)-1].Ack
		gap := workload.LongestGap(writes, g.since, last)
		g.since, g.open = last, false
		if gap.Length() > worthTelling {
			return fmt.Sprintf("nothing was acknowledged for %s", milliseconds(gap.Length()))
		}
		return ""
	}
	if g.open || now.Sub(g.since) <= longOutage {
		return ""
	}
	g.open = true
	return fmt.Sprintf("nothing has been acknowledged for %s, and nothing is yet: switchyard explain %s says why", longOutage,
		site.ClusterName)
}

// standings is what each server was last seen to be.
type standings map[topology.Key]standing

type standing struct {
	role wire.Role
	told bool
}

// look returns what is to be told: only what is true of servers that answer, and once.
func (s standings) look(nodes []wire.Node) (news []string) {
	for _, n := range nodes {
		before := s[n.Key]
		if n.Status == wire.NodeUnreachable || n.Status == wire.NodeUnchecked {
			s[n.Key] = standing{n.Role, before.told && before.role == n.Role}
			continue
		}
		s[n.Key] = standing{n.Role, true}
		if before.told && before.role == n.Role {
			continue
		}
		switch {
		case n.Role == wire.RoleDeposed:
			news = append(news, fmt.Sprintf("%s is a former master, and waits to be rejoined", n.Key))
		case n.Role == wire.RoleQuarantined:
			news = append(news, fmt.Sprintf("%s is quarantined and stays out: it has transactions that the master lacks (%s)", n.Key,
				n.Errant))
		case before.role == wire.RoleDeposed || before.role == wire.RoleQuarantined:
			news = append(news, fmt.Sprintf("%s is a %s again", n.Key, n.Role))
		}
	}
	return news
}

// revive starts a server that somebody killed.
func (d *demo) revive(ctx context.Context, server *stack.Server, dead map[*stack.Server]time.Time) {
	if server.Running() {
		delete(dead, server)
		return
	}
	since, known := dead[server]
	switch {
	case !known:
		dead[server] = time.Now()
		d.progress("%s is dead; it is started again in %s", server.Key(), comeBack)
	case time.Since(since) >= comeBack:
		if err := server.Start(ctx); err != nil {
			if ctx.Err() == nil {
				d.progress("%s does not start; the next attempt is in %s: %v", server.Key(), comeBack, err)
			}
			dead[server] = time.Now()
			return
		}
		delete(dead, server)
		d.progress("%s is back (pid %d), read-only", server.Key(), server.Pid())
	}
}

func (d *demo) instructions() {
	var urls []string
	for _, controller := range d.site.Controllers {
		urls = append(urls, controller.URL)
	}
	account := stack.AppAccount()
	d.heading("it is all yours until Ctrl-C")
	d.print("application   %s  user %s, password %s, schema %s\n", d.site.Proxies[0].Listen, account.User, account.Password,
		stack.AppSchema)
	d.print("proxy         %s (runtime API)\n", d.site.Proxies[0].Runtime)
	d.print("Consul        %s/ui, key mysql/master/%s\n", d.site.Consul.Address(), site.ClusterName)
	for _, server := range d.site.Servers() {
		d.print("server %-3d    %s  pid %d, root: mysql -u root -S %s\n", server.ServerID(), server.Key(), server.Pid(), server.Socket())
	}
	for _, controller := range d.site.Controllers {
		d.print("controller    %s  pid %d\n", controller.URL, controller.Pid())
	}
	d.print("\nexport SWITCHYARD_API=%s\n", strings.Join(urls, ","))
	for _, command := range []string{"topology", "status", "explain " + site.ClusterName, "recoveries", "switchover " + site.ClusterName} {
		d.print("%s %s\n", d.options.Binary, command)
	}
	d.print("\nKill a master (kill -9 PID) and look again: killed servers come back after %s, and the next automatic recovery\n"+
		"is allowed %s after the last one.\n\n", comeBack, keepAntiFlap)
}
