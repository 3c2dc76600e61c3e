package verbs

import (
	"context"
	"errors"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/link"
)

// Local is the sidecar's session on the server of its own host. It holds no
// lock, and so ends nobody's session on it by being opened; it takes the right
// to write and cannot give it.
type Local struct{ session *Session }

// OpenLocal connects to the server on Config.Socket; name is what errors call it.
func (o *Opener) OpenLocal(ctx context.Context, name topology.Key) (*Local, error) {
	if o.cfg.Socket == "" {
		return nil, errors.New("socket: the path of the server's unix socket is missing")
	}
	conn, err := link.Dial(ctx, o.link(), name)
	if err != nil {
		return nil, err
	}
	return &Local{&Session{cfg: o.cfg, log: o.log.With("instance", name.String()), conn: conn, d: conn.Dialect}}, nil
}

// SetReadOnly is Session.SetReadOnly.
func (l *Local) SetReadOnly(ctx context.Context) error { return l.session.SetReadOnly(ctx) }

// IsReadOnly reads whether the server holds all users that it can hold.
func (l *Local) IsReadOnly(ctx context.Context) (bool, error) { return l.session.isReadOnly(ctx) }

// EndClients is Session.EndClients.
func (l *Local) EndClients(ctx context.Context) (ended, left int, err error) {
	return l.session.EndClients(ctx)
}

// EndingReveals tells whether the end of a client's connection would make a
// commit readable that waits for its semi-sync acknowledgement.
func (l *Local) EndingReveals(ctx context.Context) (bool, error) {
	if l.session.d.Flavor != gtid.MariaDB {
		return false, nil
	}
	v, err := l.session.semiSyncVariables(ctx)
	if err != nil {
		return false, err
	}
	return v["rpl_semi_sync_master_enabled"] == "ON", nil
}

// Close closes the connection.
func (l *Local) Close() { l.session.conn.Close() }

// LocalState is what the server is.
type LocalState struct {
	ReadOnly bool
	// UUID is @@server_uuid; MariaDB has none.
	UUID string
}

// State reads what the server is.
func (l *Local) State(ctx context.Context) (LocalState, error) {
	readOnly, err := l.session.isReadOnly(ctx)
	if err != nil || l.session.d.Flavor == gtid.MariaDB {
		return LocalState{ReadOnly: readOnly}, err
	}
	row, err := l.session.conn.QueryRow(ctx, "SELECT @@global.server_uuid AS uuid")
	return LocalState{ReadOnly: readOnly, UUID: row["uuid"]}, err
}

// LocalSource is whom the server replicates from.
type LocalSource struct {
	// Address is the zero key where there is none.
	Address topology.Key
	// UUID is the source's; MariaDB has none.
	UUID string
	// Receiving is set while the connection to the source stands.
	Receiving bool
}

// Source reads whom the server replicates from.
func (l *Local) Source(ctx context.Context) (LocalSource, error) {
	status, err := l.session.status(ctx)
	if err != nil || status == nil {
		return LocalSource{}, err
	}
	return LocalSource{Address: status.Source, UUID: status.SourceUUID, Receiving: status.IO == topology.ThreadRunning}, nil
}
