package app

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"switchyard/controller/config"
	"switchyard/controller/gtid"
	"switchyard/controller/observer"
	"switchyard/controller/quarantine"
	"switchyard/controller/rejoin"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/binlog"
	"switchyard/store"
)

func newSaver(c *config.File, s *store.Store, o *observer.Observer, log *slog.Logger) (*quarantine.Saver, error) {
	secure, optional, err := serverTLS(c)
	if err != nil {
		return nil, err
	}
	m := c.MySQL
	exporter := exporter{binlog.New(binlog.Config{
		User: m.User, Password: m.Password.Reveal, TLS: secure, TLSOptional: optional, ConnectTimeout: m.ConnectTimeout,
	}, log)}
	return quarantine.New(quarantine.Config{
		Self: c.ID, Dir: filepath.Join(c.DataDir, "quarantine"), Now: time.Now,
	}, s, o, exporter, log), nil
}

// exporter gives the binary log's reader the saver's words.
type exporter struct{ *binlog.Exporter }

// Export implements quarantine.Exporter.
func (e exporter) Export(ctx context.Context, address topology.Key, holds gtid.Set, w io.Writer) (int, string, error) {
	summary, err := e.Exporter.Export(ctx, address, holds, w)
	return summary.Transactions, summary.Missing, err
}

// tenders are those who bring servers back, or save what they have.
type tenders struct {
	*rejoin.Rejoiner
	saver *quarantine.Saver
}

// Problems implements console.Rejoiner.
func (t tenders) Problems() []string { return slices.Concat(t.Rejoiner.Problems(), t.saver.Problems()) }
