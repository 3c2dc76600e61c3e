// Command standin stands in for ProxySQL in tests; README.md says what it is and what it is not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"switchyard/e2e/standin/admin"
	"switchyard/e2e/standin/hostgroup"
	"switchyard/e2e/standin/traffic"
)

func main() {
	adminAddress := flag.String("admin", "127.0.0.1:6032", "host:port of the admin interface")
	trafficAddress := flag.String("traffic", "127.0.0.1:6033", "host:port for applications")
	data := flag.String("data", ".", "directory of the disk layer")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *adminAddress, *trafficAddress, *data, log); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

// run serves both doors until ctx ends or one of them fails.
func run(ctx context.Context, adminAddress, trafficAddress, data string, log *slog.Logger) (err error) {
	servers := hostgroup.New()
	proxy := traffic.New(servers, "8.0.30", log)
	interfaces := map[string]string{"admin-mysql_ifaces": adminAddress, "mysql-interfaces": trafficAddress}
	door, err := admin.New(ctx, admin.Config{Disk: filepath.Join(data, "proxysql.db"), Variables: interfaces}, servers, proxy, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, door.Close()) }()
	defer servers.Close()
	adminListener, err := net.Listen("tcp", adminAddress)
	if err != nil {
		return fmt.Errorf("the admin interface: %w", err)
	}
	trafficListener, err := net.Listen("tcp", trafficAddress)
	if err != nil {
		return errors.Join(fmt.Errorf("the interface for applications: %w", err), adminListener.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	failures := make([]error, 2)
	group.Go(func() { defer cancel(); failures[0] = door.Serve(ctx, adminListener) })
	group.Go(func() { defer cancel(); failures[1] = proxy.Serve(ctx, trafficListener) })
	group.Wait()
	return errors.Join(failures...)
}
