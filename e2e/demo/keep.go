package demo

import (
	"context"
	"strings"
	"time"

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
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			told = d.outages(app, told)
			for _, server := range d.site.Servers() {
				d.revive(ctx, server, dead)
			}
		}
	}
}

// outages tells of gaps that have ended, and returns from when on the next look has to be.
func (d *demo) outages(app *workload.Workload, since time.Time) time.Time {
	writes := app.Acked()
	if len(writes) == 0 {
		return since
	}
	last := writes[len(writes)-1].Ack
	gap := workload.LongestGap(writes, since, last)
	if !gap.Open && gap.Length() > worthTelling {
		d.progress("nothing was acknowledged for %s", milliseconds(gap.Length()))
	}
	app.Forget(last)
	return last
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
		delete(dead, server)
		if err := server.Start(ctx); err != nil {
			if ctx.Err() == nil {
				d.progress("%s does not start: %v", server.Key(), err)
			}
			return
		}
		d.progress("%s is back (pid %d), read-only, and waits to be rejoined", server.Key(), server.Pid())
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
