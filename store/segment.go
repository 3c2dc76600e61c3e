package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
)

// The frames of a file of raft-wal: behind a header there are frames, each with a
// type, a length (or the checksum of all since the last commit), and padding.
const (
	segmentHeader = 32
	frameHeader   = 8

	frameEntry  = 1
	frameIndex  = 2
	frameCommit = 3
)

// commitFrame is one commit in a segment: where its bytes begin and end, and what
// was written up to it.
type commitFrame struct {
	from, to int64
	sum      uint32
	entries  uint64
	// index is where the segment's index begins; 0 before it was written.
	index int64
}

// end is where the next frame begins.
func (c *commitFrame) end() int64 {
	if c == nil {
		return segmentHeader
	}
	return c.to + frameHeader
}

// segmentEnd is what the end of a segment says.
type segmentEnd struct {
	last, previous *commitFrame
	// entries and index are of all frames, committed or not.
	entries uint64
	index   int64
}

// readSegment goes through the frames as raft-wal does when it opens the last file.
func readSegment(from io.ReaderAt) (segmentEnd, error) {
	var found segmentEnd
	var head [frameHeader]byte
	for at := int64(segmentHeader); ; {
		if n, err := from.ReadAt(head[:], at); n < frameHeader {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return found, err
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		switch head[0] {
		case frameEntry:
			found.entries++
		case frameIndex:
			found.index = at + frameHeader
		case frameCommit:
			begin := int64(0) // The first commit covers the header of the file, too.
			if found.last != nil {
				begin = found.last.end()
			}
			found.previous = found.last
			found.last = &commitFrame{from: begin, to: at, sum: uint32(length), entries: found.entries, index: found.index}
			length = 0
		default:
			return found, nil
		}
		at += frameHeader + (length+frameHeader-1)/frameHeader*frameHeader
	}
}

// whole reports whether all of a commit's bytes are those that were written.
func (c *commitFrame) whole(from io.ReaderAt) (bool, error) {
	data := make([]byte, c.to-c.from)
	if _, err := from.ReadAt(data, c.from); err != nil {
		return false, err
	}
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) == c.sum, nil
}

// finishRotation does what raft-wal leaves undone when the process ends at the wrong
// moment. When a file of the log is full it writes an index at its end, and begins the
// next file a moment later. In between it would open the file again, but never append
// to it, so that the controller could never take part again. A complete index
// makes the file a finished one here; half of one is removed.
func finishRotation(dir string, segmentBytes int) (err error) {
	if _, err := os.Stat(filepath.Join(dir, metaName)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	meta := &metadb.BoltMetaDB{}
	state, err := meta.Load(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	if len(state.Segments) == 0 || !state.Segments[len(state.Segments)-1].SealTime.IsZero() {
		return nil
	}
	tail := &state.Segments[len(state.Segments)-1]
	sealed, err := settle(filepath.Join(dir, fmt.Sprintf("%020d-%016x.wal", tail.BaseIndex, tail.ID)))
	if err != nil || sealed == nil {
		return err
	}
	tail.SealTime, tail.IndexStart, tail.MaxIndex = time.Now(), uint64(sealed.index), tail.BaseIndex+sealed.entries-1
	next := tail.MaxIndex + 1
	state.Segments = append(state.Segments, types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: next, MinIndex: next, SizeLimit: uint32(segmentBytes), Codec: tail.Codec, CreateTime: time.Now(),
	})
	state.NextSegmentID++
	return meta.CommitState(state)
}

// settle returns the last commit of a file whose index is complete, and removes half
// of an index, with whatever was never committed beside it.
func settle(path string) (sealed *commitFrame, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // It was about to be made; raft-wal makes it.
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	found, err := readSegment(file)
	if err != nil || found.index == 0 {
		return nil, err
	}
	keep := found.last
	if keep != nil && keep.index != 0 && keep.entries == found.entries {
		whole, err := keep.whole(file)
		if err != nil {
			return nil, err
		}
		if whole && keep.entries > 0 {
			return keep, nil
		}
		keep = found.previous
	}
	return nil, wipe(file, keep.end())
}

// wipe puts zeros from a place on: a file is made at its full size, and read until
// there are zeros.
func wipe(file *os.File, from int64) error {
	info, err := file.Stat()
	if err != nil || info.Size() <= from {
		return err
	}
	if _, err := file.WriteAt(make([]byte, info.Size()-from), from); err != nil {
		return err
	}
	return file.Sync()
}
