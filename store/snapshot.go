package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"switchyard/store/codec"
	"switchyard/store/ledger"
	"switchyard/store/sqlite"
)

// A snapshot is this magic, the position of the last command in it, and the
// state. Raft does not tell a machine that it restores where the snapshot ends.
const (
	snapshotMagic = "SYSNAP1\n"
	snapshotHead  = len(snapshotMagic) + 16
)

// snapshot is one state on its way to a file or to a follower.
type snapshot struct {
	state ledger.State
	at    sqlite.Position
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

func (s *snapshot) write(to io.Writer) error {
	data, err := codec.EncodeState(s.state)
	if err != nil {
		return err
	}
	head := append(make([]byte, 0, snapshotHead), snapshotMagic...)
	head = binary.BigEndian.AppendUint64(head, s.at.Index)
	head = binary.BigEndian.AppendUint64(head, s.at.Term)
	if _, err := to.Write(head); err != nil {
		return err
	}
	_, err = to.Write(data)
	return err
}

// Release implements raft.FSMSnapshot; a state is never changed, so there is
// nothing to let go.
func (s *snapshot) Release() {}

func readSnapshot(source io.Reader) (ledger.State, sqlite.Position, error) {
	data, err := readAll(source)
	if err != nil {
		return ledger.State{}, sqlite.Position{}, err
	}
	if len(data) < snapshotHead || string(data[:len(snapshotMagic)]) != snapshotMagic {
		return ledger.State{}, sqlite.Position{}, fmt.Errorf("it does not begin as a snapshot of this release does: %w", ErrNewer)
	}
	numbers := data[len(snapshotMagic):]
	at := sqlite.Position{Index: binary.BigEndian.Uint64(numbers), Term: binary.BigEndian.Uint64(numbers[8:])}
	state, err := codec.DecodeState(data[snapshotHead:])
	if err != nil {
		// Raft has checked that the bytes are those that were written.
		return ledger.State{}, sqlite.Position{}, fmt.Errorf("%w: %w", ErrNewer, err)
	}
	return state, at, nil
}
