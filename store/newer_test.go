package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// withoutPauses reads commands as a release does that has no pauses yet.
func withoutPauses(data []byte) (ledger.Command, error) {
	cmd, err := codec.DecodeCommand(data)
	if _, ok := cmd.(ledger.PauseRecoveries); ok {
		return nil, fmt.Errorf("decode command %q: this release knows no such kind; a newer one wrote it", cmd.Kind())
	}
	return cmd, err
}

// One controller of three meets a command that it cannot decode: it stops, with
// nothing of it applied, and the others go on. With their release it comes back.
func TestOneControllerIsOfAnOlderRelease(t *testing.T) {
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			cfgs := configs(t, 3)
			cfgs[2].decode = withoutPauses
			all := openAll(t, cfgs)
			old, rest := all[2], all[:2]
			adoptAll(t, 1, 1, all...)
			eventually(t, "it follows", func() bool { return knows(old, 1) })
			eventually(t, "the "+role+" is of the older release", func() bool {
				lead := leader(t, all...)
				if (lead == old) == (role == "leader") {
					return true
				}
				to := old
				if lead == old {
					to = rest[0]
				}
				_, _ = lead.TransferLeader(bounded(t), to.cfg.ID)
				return false
			})
			pause := ledger.PauseRecoveries{By: "kim", Reason: "a trial", At: noon}
			eventually(t, "those that know it apply it", func() bool {
				for _, s := range all {
					if s.Err() == nil && s.IsLeader() {
						ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeouts.Network)
						_ = s.Propose(ctx, pause)
						cancel()
					}
				}
				return len(rest[0].State().Pauses) == 1 && len(rest[1].State().Pauses) == 1
			})
			err := old.Run(bounded(t))
			if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "raft entry") || !strings.Contains(err.Error(), "run the release that they run") {
				t.Errorf("it ended with %v", err)
			}
			if len(old.State().Pauses) != 0 || !knows(old, 1) {
				t.Errorf("it is half applied: %+v", old.State())
			}
			adoptAll(t, 2, 2, rest...)

			refuses(t, old.cfg, ErrNewer, "raft entry", "run the release")
			again := old.cfg
			again.decode = nil
			back := open(t, again)
			eventually(t, "it is in step again", func() bool { return knows(back, 2) && len(back.State().Pauses) == 1 })
			agree(t, append(rest, back)...)
		})
	}
}

// A snapshot of a newer release is no damage either.
func TestSnapshotOfANewerRelease(t *testing.T) {
	cfg := single(t)
	s := open(t, cfg)
	leader(t, s)
	closeNow(t, s)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, 2, newRaftLogger(quiet()))
	if err != nil {
		t.Fatal(err)
	}
	_, nowhere := raft.NewInmemTransport("nowhere")
	for name, body := range map[string]string{
		"its head": "SYSNAP2\n" + strings.Repeat("\x00", 40), "the state in it": "SYSNAP1\n" + strings.Repeat("\x00", 15) + "\x09\x02{}",
	} {
		sink, err := snapshots.Create(raft.SnapshotVersionMax, 9, 9, raft.Configuration{}, 9, nowhere)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		refuses(t, cfg, ErrNewer, "snapshot", "run the release")
	}
}
