package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"go.uber.org/fx"

	"switchyard/controller/config"
	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/probe"
	"switchyard/integrations/mysql/verbs"
)

func newProber(c *config.File, log *slog.Logger) (*probe.Prober, error) {
	secure, optional, err := serverTLS(c)
	if err != nil {
		return nil, err
	}
	return probe.New(probeConfig(c, secure, optional), log), nil
}

func probeConfig(c *config.File, secure *tls.Config, optional bool) probe.Config {
	m := c.MySQL
	return probe.Config{
		User: m.User, Password: m.Password.Reveal, TLS: secure, TLSPreferred: optional, ConnectTimeout: m.ConnectTimeout,
		LagQuery: m.LagQuery, DataCenterQuery: m.DatacenterQuery, RegionQuery: m.RegionQuery,
		ClusterNameQuery: m.ClusterNameQuery, Now: time.Now,
	}
}

// newWriter is nil where no writes are to be tried.
func newWriter(lc fx.Lifecycle, c *config.File, log *slog.Logger) (*probe.Writer, error) {
	if !c.MySQL.WriteProbe.Enabled {
		return nil, nil
	}
	secure, optional, err := serverTLS(c)
	if err != nil {
		return nil, err
	}
	w := probe.NewWriter(probe.WriterConfig{
		Config: probeConfig(c, secure, optional), Schema: c.MySQL.WriteProbe.Schema, Writer: c.ID,
	}, log)
	lc.Append(fx.StopHook(w.Close))
	return w, nil
}

func serverTLS(c *config.File) (secure *tls.Config, optional bool, err error) {
	if secure, err = c.MySQL.TLS.Build(); err != nil {
		return nil, false, fmt.Errorf("mysql.tls: %w", err)
	}
	return secure, c.MySQL.TLS.Mode == config.TLSPreferred, nil
}

// hands opens sessions for the executor and the rejoiner.
type hands struct{ opener *verbs.Opener }

func newHands(c *config.File, log *slog.Logger) (executor.Hands, error) {
	secure, optional, err := serverTLS(c)
	if err != nil {
		return nil, err
	}
	m, r := c.MySQL, c.MySQL.Replication
	return hands{verbs.New(verbs.Config{
		User: m.User, Password: m.Password.Reveal, TLS: secure, TLSPreferred: optional, ConnectTimeout: m.ConnectTimeout,
		Replication: verbs.Replication{
			User: r.User, Password: r.Password.Reveal, TLS: replicationTLS(r.TLS.Mode), CA: r.TLS.CA, Cert: r.TLS.Cert, Key: r.TLS.Key,
			HeartbeatPeriod: r.HeartbeatPeriod, ConnectRetry: r.ConnectRetry, RetryCount: r.RetryCount,
		},
	}, log)}, nil
}

// replicationTLS never weakens what a replica has: where nothing is asked for,
// its options stay as they are.
func replicationTLS(mode config.TLSMode) dialect.TLSMode {
	switch mode {
	case config.TLSRequired:
		return dialect.TLSRequired
	case config.TLSVerifyCA, config.TLSVerifyIdentity:
		return dialect.TLSVerify
	default:
		return dialect.TLSKeep
	}
}

// Open implements executor.Hands.
func (h hands) Open(ctx context.Context, address topology.Key) (executor.Session, error) {
	s, err := h.opener.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

// session gives a verbs session the executor's words.
type session struct{ *verbs.Session }

// SetSemiSync implements executor.Session.
func (s session) SetSemiSync(ctx context.Context, want executor.SemiSync) error {
	return s.Session.SetSemiSync(ctx, verbs.SemiSync{Source: want.Source, Replica: want.Replica, WaitCount: want.WaitCount})
}
