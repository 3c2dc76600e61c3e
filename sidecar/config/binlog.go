package config

import (
	"cmp"
	"path/filepath"
	"time"

	controller "switchyard/controller/config"
)

// Binlog is where the server's binary log is, and where replicas take what a
// crash has left in it; without an index nothing is given away.
type Binlog struct {
	// Index is the binary log's index file (@@log_bin_index).
	Index string `yaml:"index"`
	// DataDir is the server's data directory (@@datadir), by default the index's.
	DataDir string `yaml:"data_dir"`
	// Listen is HOST:PORT.
	Listen string `yaml:"listen"`
	// Hold is for how long after a crash `switchyard sidecar ready` waits for a
	// failover to ask; 0 is not at all.
	Hold time.Duration `yaml:"hold"`
}

// Given reports whether the tail of the binary log is to be given away.
func (b Binlog) Given() bool { return b.Index != "" }

func checkBinlog(d *controller.Document, b *Binlog) error {
	if !d.Has("database.binlog") {
		return nil
	}
	b.Index, b.DataDir = d.Path(b.Index), d.Path(b.DataDir)
	if err := d.Require("database.binlog.index", b.Index, "name the binary log's index file (@@log_bin_index)"); err != nil {
		return err
	}
	b.DataDir = cmp.Or(b.DataDir, filepath.Dir(b.Index))
	if err := d.Require("database.binlog.listen", b.Listen, "give HOST:PORT, where the cluster's other servers take what a crash has left"); err != nil {
		return err
	}
	if !d.Has("database.binlog.hold") {
		b.Hold = 5 * time.Second
	}
	if b.Hold < 0 || b.Hold > time.Minute {
		return d.Errorf("database.binlog.hold", "is %s; want 0s, which is not at all, to 1m", b.Hold)
	}
	return d.CheckAddress("database.binlog.listen", b.Listen)
}
