package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// leaderPause is how long one that gave leadership away waits before it looks
// again who has it.
const leaderPause = 10 * time.Millisecond

// Member is a controller as raft counts it, whatever the configuration says.
type Member struct {
	Peer
	// Voter is whether it counts for a majority.
	Voter bool
}

// members returns those of raft's newest configuration, by their ids. An address
// is the one at which this controller looks for it.
func (s *Store) members() []Member {
	var all []Member
	for _, server := range s.raft.GetConfiguration().Configuration().Servers {
		m := Member{Peer: Peer{ID: string(server.ID), RaftAddress: string(server.Address)}, Voter: server.Suffrage == raft.Voter}
		if known, ok := s.Controllers().Find(m.ID); ok {
			m.Peer = Peer{ID: known.ID, RaftAddress: known.Raft, API: known.API, DataCenter: known.DataCenter}
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// TransferLeader makes the member id the leader, and returns who leads then:
// another one may have been faster. While it is under way, for an election
// timeout at the most, this controller takes no commands. After an error this
// controller may lead still.
func (s *Store) TransferLeader(ctx context.Context, id string) (string, error) {
	if id == s.cfg.ID {
		return "", fmt.Errorf("%s cannot give leadership to itself", id)
	}
	all := s.members()
	to := slices.IndexFunc(all, func(m Member) bool { return m.ID == id && m.Voter })
	if to < 0 {
		return "", fmt.Errorf("%s is no voter", id)
	}
	err := s.ask(ctx, "transfer leadership", func() error {
		if err := s.inOffice(); err != nil {
			return err
		}
		return s.give(ctx, all[to])
	})
	if err != nil {
		return "", err
	}
	return s.successor(ctx)
}

// successor waits until a leader is known.
func (s *Store) successor(ctx context.Context) (string, error) {
	tick := time.NewTicker(leaderPause)
	defer tick.Stop()
	for {
		if id, ok := s.Leader(); ok {
			return id, nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return "", ErrClosed
		case <-ctx.Done():
			return "", errors.Join(errors.New("leadership was given away, and no leader is known since"), ctx.Err())
		}
	}
}

// give hands leadership to one voter. An attempt before it may not have ended yet.
func (s *Store) give(ctx context.Context, to Member) error {
	id, address := raft.ServerID(to.ID), raft.ServerAddress(to.RaftAddress)
	for {
		err := s.await(ctx, func() error { return s.raft.LeadershipTransferToServer(id, address).Error() })
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return err
		}
		timer := time.NewTimer(leaderPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
