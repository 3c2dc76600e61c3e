package app

import (
	"context"
	"fmt"
	"path/filepath"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/verbs"
	"switchyard/sidecar/call"
	"switchyard/sidecar/config"
	"switchyard/sidecar/door"
	"switchyard/sidecar/fence"
	"switchyard/sidecar/guard"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
	"switchyard/sidecar/tie"
)

// database builds the part that stands beside a mysqld.
func database(s shared) ([]Part, error) {
	d := s.file.Database
	if !d.Given() {
		return nil, nil
	}
	clock, err := guard.BootClock()
	if err != nil {
		return nil, err
	}
	local, err := newLocal(s, d)
	if err != nil {
		return nil, err
	}
	terms := lease.Config{Fence: d.Fence, Kill: d.Kill}
	way := databaseWire{client: s.client, at: map[string]string{}}
	for _, c := range s.file.Controllers {
		terms.Controllers = append(terms.Controllers, c.ID)
		way.at[c.ID] = c.HTTP
	}
	for _, p := range d.Peers {
		terms.Peers = append(terms.Peers, p.Name)
		way.at[p.Name] = p.HTTP
	}
	ports := guard.Ports{Wire: way, Local: local, Hands: fence.New(fence.Config{Kill: d.Kill}, local, s.log), Clock: clock}
	watchdog := tie.Config{
		Socket: s.file.WatchdogSocket(), Clock: clock,
		// What runs, even after its file was replaced by an upgrade.
		Command: []string{"/proc/self/exe", "sidecar", "watchdog"},
	}
	var parts []Part
	if d.Tie {
		t := tie.New(watchdog, s.log)
		ports.Tie = t
		parts = append(parts, Part{Name: "tie", Run: t.Run})
	}
	g, err := guard.New(guard.Config{
		Who:   protocol.Who{Sidecar: s.file.Name, Run: s.run, Boot: s.boot, Cluster: d.Cluster, Server: d.Server},
		Lease: terms, Renew: d.Renew, Book: filepath.Join(s.file.StateDir, "database.json"),
	}, ports, s.log)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return append(parts, Part{
		Name: "database",
		Handlers: map[string]door.Handler{
			protocol.PathFollow: door.Answer(g.Follow),
			protocol.PathPart:   door.Answer(g.Part),
		},
		Run: func(ctx context.Context) error {
			defer local.close()
			if !d.Tie {
				if err := tie.Release(ctx, watchdog.Socket); err != nil {
					return fmt.Errorf("the watchdog that an earlier run left: %w", err)
				}
			}
			return g.Run(ctx)
		},
	}), nil
}

// Watchdog ends the mysqld with this id at the instant that its sidecar, which
// starts it, told it last.
func Watchdog(pid int) error { return tie.Watch(pid) }

// databaseWire reaches controllers and peers by their names.
type databaseWire struct {
	client *call.Client
	at     map[string]string
}

// Renew implements guard.Wire.
func (w databaseWire) Renew(ctx context.Context, controller string, q protocol.Renew) (protocol.RenewReply, error) {
	return call.Post[protocol.RenewReply](ctx, w.client, w.at[controller], protocol.PathRenew, q)
}

// Exit implements guard.Wire.
func (w databaseWire) Exit(ctx context.Context, controller string, q protocol.Exit) (protocol.ExitNoted, error) {
	return call.Post[protocol.ExitNoted](ctx, w.client, w.at[controller], protocol.PathExit, q)
}

// Follow implements guard.Wire.
func (w databaseWire) Follow(ctx context.Context, peer string, q protocol.Follow) (protocol.FollowReply, error) {
	return call.Post[protocol.FollowReply](ctx, w.client, w.at[peer], protocol.PathFollow, q)
}

// local is the mysqld of this host, as the guard sees it.
type local struct {
	verbs *verbs.Opener
	name  topology.Key
	place fence.Place
	// kept is the connection over which it is looked at, by one goroutine.
	kept *verbs.Local
}

func newLocal(s shared, d config.Database) (*local, error) {
	name, err := topology.ParseKey(d.Server)
	if err != nil {
		return nil, fmt.Errorf("database.server: %w", err)
	}
	return &local{
		verbs: verbs.New(verbs.Config{
			User: d.User, Password: d.Password.Reveal, Socket: d.Socket, KeepUsers: d.KeepUsers,
			Replication: verbs.Replication{User: d.ReplicationUser},
		}, s.log),
		name: name, place: fence.Place{Socket: d.Socket, PIDFile: d.PIDFile},
	}, nil
}

// Open implements fence.Opener.
func (l *local) Open(ctx context.Context) (fence.Session, error) {
	session, err := l.verbs.OpenLocal(ctx, l.name)
	if err != nil {
		return nil, err // not a *verbs.Local that is nil
	}
	return session, nil
}

// Find implements guard.Local.
func (l *local) Find(ctx context.Context) (guard.Process, error) {
	process, err := fence.Find(ctx, l.place)
	if err != nil {
		return nil, err
	}
	return process, nil
}

// Look implements guard.Local, on a connection that is kept.
func (l *local) Look(ctx context.Context) (seen guard.Seen, err error) {
	if l.kept == nil {
		if l.kept, err = l.verbs.OpenLocal(ctx, l.name); err != nil {
			return guard.Seen{}, err
		}
	}
	defer func() {
		if err != nil || seen.Unknown != nil {
			l.close()
		}
	}()
	state, err := l.kept.State(ctx)
	if err != nil || !state.ReadOnly {
		return guard.Seen{UUID: state.UUID}, err
	}
	source, err := l.kept.Source(ctx)
	return guard.Seen{ReadOnly: true, UUID: state.UUID, Replica: source.Address != topology.Key{}, Unknown: err}, nil
}

// Source implements guard.Local, on a connection of its own.
func (l *local) Source(ctx context.Context) (guard.Source, error) {
	session, err := l.verbs.OpenLocal(ctx, l.name)
	if err != nil {
		return guard.Source{}, err
	}
	defer session.Close()
	source, err := session.Source(ctx)
	if err != nil || source.Address == (topology.Key{}) {
		return guard.Source{}, err
	}
	return guard.Source{Server: source.Address.String(), UUID: source.UUID, Receiving: source.Receiving}, nil
}

func (l *local) close() {
	if l.kept != nil {
		l.kept.Close()
		l.kept = nil
	}
}
