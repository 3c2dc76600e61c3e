package site

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

// Switchover asks for a switchover, to a server or, where to is empty, to whom the controllers choose. On a machine that
// stands still for a while leadership may change in the middle of it: then the next leader finishes it, or it is asked again.
func (s *Site) Switchover(ctx context.Context, to string) (wire.Recovery, error) {
	for {
		before, err := s.newest(ctx)
		if err != nil {
			return before, err
		}
		r, err := s.askSwitchover(ctx, to)
		if !leaderless(err) {
			return r, err
		}
		var last wire.Recovery
		if ended := Until(ctx, "a leader has ended the switchover", func(ctx context.Context) (err error) {
			if last, err = s.newest(ctx); err == nil && last.ID != before.ID && last.Open() {
				err = fmt.Errorf("%s is open", last.ID)
			}
			return err
		}); ended != nil {
			return last, errors.Join(err, ended)
		}
		if last.ID != before.ID && last.Outcome == ledger.Completed {
			return last, nil
		}
	}
}

func (s *Site) askSwitchover(ctx context.Context, to string) (r wire.Recovery, err error) {
	client, err := s.Client(60 * time.Second)
	if err != nil {
		return r, err
	}
	request := map[string]string{"cluster": ClusterName, "by": "test"}
	if to != "" {
		request["to"] = to
	}
	return r, client.Post(ctx, wire.PathSwitchover, request, &r)
}

// newest is the newest recovery, if there is one.
func (s *Site) newest(ctx context.Context) (r wire.Recovery, err error) {
	list, err := s.Recoveries(ctx)
	if err == nil && len(list) > 0 {
		r = list[0]
	}
	return r, err
}

func leaderless(err error) bool {
	var refused *wire.Error
	return errors.As(err, &refused) && (refused.Code == wire.NotLeader || refused.Code == wire.NoLeader || refused.Code == wire.LeaderUnreachable)
}
