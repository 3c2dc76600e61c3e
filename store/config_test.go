package store

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestBadConfigurations(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.ID = "" }, "id is empty"},
		{func(c *Config) { c.LedgerID = "" }, "name of the cluster of controllers"},
		{func(c *Config) { c.DataDir = "" }, "data_dir is empty"},
		{func(c *Config) { c.Secret = "" }, "secret is empty"},
		{func(c *Config) { c.Now = nil }, "clock"},
		{func(c *Config) { c.Bind = "7000" }, `bind.raft: "7000": want HOST:PORT`},
		{func(c *Config) { c.Bind = "127.0.0.1:0" }, "want a port"},
		{func(c *Config) { c.Bind = "127.0.0.1:99999" }, "want a port"},
		{func(c *Config) { c.Peers = nil }, "peers is empty"},
		{func(c *Config) { c.ID = "c9" }, `"c9" is not among them: ["c1" "c2" "c3"]`},
		{func(c *Config) { c.Peers[1].ID = "" }, "peers[1].id is empty"},
		{func(c *Config) { c.Peers[1].ID = "c1" }, `the id "c1" is there twice`},
		{func(c *Config) { c.Peers[1].RaftAddress = c.Peers[0].RaftAddress }, "share the raft address"},
		{func(c *Config) { c.Peers[1].RaftAddress = "0.0.0.0:7000" }, "nobody can reach"},
		{func(c *Config) { c.Peers[1].RaftAddress = ":7000" }, "the host is missing"},
		{func(c *Config) { c.Advertise = "10.0.0.9:7000" }, "is another controller using this id?"},
		{func(c *Config) { c.Timeouts.LeaderLease = 2 * c.Timeouts.Heartbeat }, "two leaders"},
		{func(c *Config) { c.Timeouts.Heartbeat = 1 }, "10ms or more"},
		{func(c *Config) { c.Timeouts.Election = time.Millisecond }, "shorter than heartbeat"},
		{func(c *Config) { c.Timeouts.Network = time.Millisecond }, "network 1ms"},
		{func(c *Config) { c.Compaction.SegmentBytes = 1 }, "64 KiB"},
	} {
		cfg := configs(t, 3)[0]
		cfg.Peers = slices.Clone(cfg.Peers)
		tc.change(&cfg)
		s, err := Open(cfg, quiet())
		if err == nil {
			closeNow(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.HasPrefix(err.Error(), "store: ") {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
	if err := (Config{Timeouts: DefaultTimeouts()}).withDefaults().validateTimes(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestRaftSpeaksThroughSlog(t *testing.T) {
	var out bytes.Buffer
	logger := newRaftLogger(slog.New(slog.NewTextHandler(&out, nil)))
	logger.Info("entering follower state")
	if out.Len() != 0 || logger.IsInfo() || !logger.IsWarn() || logger.GetLevel() != hclog.Warn {
		t.Errorf("information gets through: %s", out.String())
	}
	logger.Named("net").With("peer", "c2").Error("failed", "error", errors.New("refused"), "servers", hclog.Fmt("%d of %d", 1, 3))
	logger.StandardLogger(nil).Print("from elsewhere")
	for _, want := range []string{
		"level=ERROR msg=failed component=raft.net peer=c2 error=refused servers=\"1 of 3\"", "level=WARN msg=\"from elsewhere\"",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
}
