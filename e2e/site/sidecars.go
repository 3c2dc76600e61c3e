package site

import (
	"context"
	"fmt"
	"strings"
	"time"

	"switchyard/e2e/stack"
)

// DatabaseSidecars are the settings of the sidecars beside the database servers; what is zero is the product's default.
type DatabaseSidecars struct {
	Renew, Fence, Kill time.Duration
	Tie                bool
	// Binlog has each give away what a crash of its server has left in the binary log.
	Binlog bool
	// Lease is what the controllers grant.
	Lease time.Duration
}

// Sidecar stands beside a database server.
type Sidecar struct {
	*stack.Process
	// Beside is the server.
	Beside *stack.Server
	named  stack.Named
	listen string
}

// placeSidecars gives each database server a sidecar that is not started yet: the controllers' files name them.
func (s *Site) placeSidecars() error {
	if s.options.DatabaseSidecars == nil {
		return nil
	}
	for _, server := range s.Servers() {
		name := "sc-" + server.Name()
		listen, err := s.Stack.SidecarListen(name)
		if err != nil {
			return err
		}
		s.Sidecars = append(s.Sidecars, &Sidecar{Beside: server, listen: listen,
			named: stack.Named{Name: name, HTTP: "http://" + listen}})
	}
	return nil
}

// sidecarConfig is the sidecars' part of a controller's file.
func (s *Site) sidecarConfig() string {
	if s.options.DatabaseSidecars == nil && s.options.ProxySidecars == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sidecars:\n  secret: %q\n", stack.SidecarSecret)
	if s.options.DatabaseSidecars == nil {
		return b.String()
	}
	if lease := s.options.DatabaseSidecars.Lease; lease > 0 {
		fmt.Fprintf(&b, "  lease: %s\n", lease)
	}
	b.WriteString("  databases:\n")
	for _, sidecar := range s.Sidecars {
		fmt.Fprintf(&b, "    - {server: %q, http: %q}\n", sidecar.Beside.Key(), sidecar.named.HTTP)
	}
	return b.String()
}

func (s *Site) startSidecars(ctx context.Context) error {
	var controllers []stack.Named
	for _, c := range s.Controllers {
		controllers = append(controllers, stack.Named{Name: c.ID, HTTP: c.URL})
	}
	o := s.options.DatabaseSidecars
	for _, sidecar := range s.Sidecars {
		var peers []stack.Named
		for _, peer := range s.Sidecars {
			if peer != sidecar {
				peers = append(peers, peer.named)
			}
		}
		extra := ""
		if o.Binlog {
			extra = sidecar.Beside.BinlogConfig()
		}
		var err error
		if sidecar.Process, err = s.Stack.StartDatabaseSidecar(ctx, s.options.Binary, stack.DatabaseSidecarSpec{
			Name: sidecar.named.Name, Cluster: ClusterName, Datacenter: s.Datacenter(sidecar.named.Name), Server: sidecar.Beside, Listen: sidecar.listen,
			Controllers: controllers, Peers: peers, Renew: o.Renew, Fence: o.Fence, Kill: o.Kill, Tie: o.Tie,
			Extra: extra,
		}); err != nil {
			return fmt.Errorf("%s: %w", sidecar.named.Name, err)
		}
	}
	return nil
}

// Sidecar is the one beside a database server, nil where there is none.
func (s *Site) Sidecar(server *stack.Server) *Sidecar {
	for _, sidecar := range s.Sidecars {
		if sidecar.Beside == server {
			return sidecar
		}
	}
	return nil
}
