package verbs

import (
	"context"
	"fmt"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
)

// Take points the server, which has applied all that it received, to the tail of
// another's binary log, with an account that is for this once.
func (s *Session) Take(ctx context.Context, source topology.Key, user, password string) error {
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if status != nil {
		executed, err := s.executed(ctx)
		if err != nil {
			return err
		}
		if !executed.Contains(status.Received) {
			return fmt.Errorf("%w: %s", ErrNotApplied, status.Received.Subtract(executed))
		}
	}
	p := s.pointer(source)
	p.User, p.Password, p.CA, p.Cert, p.Key = user, password, "", "", ""
	// Encrypted where replication is; the tail is known by the password, which is
	// never sent, and its certificate by nobody.
	encrypted := p.TLS == dialect.TLSRequired || p.TLS == dialect.TLSVerify || p.TLS == dialect.TLSKeep && status != nil && status.TLS
	if p.TLS = dialect.TLSOff; encrypted {
		p.TLS = dialect.TLSRequired
	}
	statement, err := s.d.ChangeSource(p)
	if err != nil {
		return fmt.Errorf("point to the tail at %s: %w", source, err)
	}
	if encrypted {
		statement += ", " + s.d.Source + "_SSL_CA = ''"
	}
	if err := s.conn.Exec(ctx, s.d.Stop()); err != nil {
		return fmt.Errorf("stop replication: %w", err)
	}
	if adopt := s.d.AdoptOwnWrites(); adopt != "" {
		if err := s.conn.Exec(ctx, adopt); err != nil {
			return fmt.Errorf("begin after the server's own writes: %w", err)
		}
	}
	if err := s.conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("point to the tail at %s: %w", source, masked(s.conn.Address, err))
	}
	return s.start(ctx)
}
