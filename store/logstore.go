package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"switchyard/store/ledger"
)

// openLog opens raft-wal's directory; whatever it makes of a damaged one
// becomes an error.
func openLog(cfg Config, logger *raftLogger) (log *wal.WAL, err error) {
	if err := checkRaftFiles(cfg.DataDir); err != nil {
		return nil, err
	}
	// bbolt panics at pages that make no sense, and may fault in its mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			log, err = nil, damaged(cfg.DataDir, fmt.Errorf("the raft log cannot be opened: %v", cause))
		}
	}()
	if err := finishRotation(filepath.Join(cfg.DataDir, raftName), cfg.Compaction.SegmentBytes); err != nil {
		return nil, damagedOrFull(cfg.DataDir, fmt.Errorf("the raft log cannot be opened: %w", err))
	}
	log, err = wal.Open(filepath.Join(cfg.DataDir, raftName),
		wal.WithLogger(logger), wal.WithSegmentSize(cfg.Compaction.SegmentBytes))
	if err != nil {
		return nil, damagedOrFull(cfg.DataDir, fmt.Errorf("the raft log cannot be opened: %w", err))
	}
	if err := probe(log); err != nil {
		return nil, damagedOrFull(cfg.DataDir, errors.Join(fmt.Errorf("raft's vote cannot be kept: %w", err), log.Close()))
	}
	return log, nil
}

// probe goes through the pages that raft will read and write, here, where a
// panic of bbolt can still be caught.
func probe(log *wal.WAL) error {
	for _, key := range []string{"CurrentTerm", "LastVoteTerm"} {
		if _, err := log.GetUint64([]byte(key)); err != nil {
			return err
		}
	}
	if _, err := log.Get([]byte("LastVoteCand")); err != nil {
		return err
	}
	return log.Set([]byte("Opened"), []byte{1})
}

// guardedLog is the log as raft sees it. Raft panics, or tries for ever, when
// its disk fails; here the first failure is handed to fail, and the goroutine
// of raft that met it ends, so that the process can stop with a sentence.
type guardedLog struct {
	*wal.WAL
	fail  func(error)
	armed atomic.Bool
}

var (
	_ raft.LogStore          = (*guardedLog)(nil)
	_ raft.StableStore       = (*guardedLog)(nil)
	_ raft.MonotonicLogStore = (*guardedLog)(nil)
)

func (g *guardedLog) check(doing string, err error) error {
	if err == nil || errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, wal.ErrClosed) || !g.armed.Load() {
		return err
	}
	if errors.Is(err, wal.ErrSealed) {
		err = fmt.Errorf("its next file could not be begun, as was logged before: %w: %w", errNoNextFile, err)
	}
	g.fail(fmt.Errorf("raft log: %s: %w", doing, err))
	runtime.Goexit()
	return nil
}

// GetLog implements raft.LogStore.
func (g *guardedLog) GetLog(index uint64, log *raft.Log) error {
	return g.check(fmt.Sprintf("read entry %d", index), readEntry(g.WAL, index, log))
}

// readEntry turns the panics of raft-wal's decoder at damaged bytes into errors.
func readEntry(from raft.LogStore, index uint64, log *raft.Log) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("it is damaged: %v", cause)
		}
	}()
	return from.GetLog(index, log)
}

// StoreLog implements raft.LogStore.
func (g *guardedLog) StoreLog(log *raft.Log) error {
	return g.check("append", g.WAL.StoreLog(log))
}

// StoreLogs implements raft.LogStore.
func (g *guardedLog) StoreLogs(logs []*raft.Log) error {
	return g.check("append", g.WAL.StoreLogs(logs))
}

// DeleteRange implements raft.LogStore.
func (g *guardedLog) DeleteRange(low, high uint64) error {
	return g.check("cut", g.WAL.DeleteRange(low, high))
}

// Set implements raft.StableStore.
func (g *guardedLog) Set(key, value []byte) error {
	return g.check("keep the vote", g.WAL.Set(key, value))
}

// SetUint64 implements raft.StableStore.
func (g *guardedLog) SetUint64(key []byte, value uint64) error {
	return g.check("keep the term", g.WAL.SetUint64(key, value))
}

// checksum goes with every command through raft's log: raft-wal checks what it
// wrote last, and no other entry.
func checksum(command []byte) []byte {
	sum := crc32.Checksum(command, crc32.MakeTable(crc32.Castagnoli))
	return binary.BigEndian.AppendUint32(nil, sum)
}

func intact(entry *raft.Log) error {
	if string(entry.Extensions) != string(checksum(entry.Data)) {
		return fmt.Errorf("raft entry %d: its checksum does not fit", entry.Index)
	}
	return nil
}

// decoder reads a command. One that has its checksum and cannot be read is of a newer
// release.
type decoder func(data []byte) (ledger.Command, error)

// contents is what a walk through the whole log finds.
type contents struct {
	first, last, lastTerm uint64
	// configuration is the newest one, if the log has any.
	configuration raft.Configuration
	configured    bool
	// changed is set where a command that was not applied yet changes the controllers.
	changed bool
}

// walk reads every entry, as raft will: an entry that it cannot use must be
// found before it runs. Commands up to applied were understood once.
func walk(log raft.LogStore, applied uint64, decode decoder) (contents, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return contents{}, fmt.Errorf("the raft log has no beginning: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return contents{}, fmt.Errorf("the raft log has no end: %w", err)
	}
	found := contents{first: first, last: last}
	if last == 0 {
		return found, nil
	}
	for index := first; index <= last; index++ {
		var entry raft.Log
		if err := readEntry(log, index, &entry); err != nil {
			return contents{}, fmt.Errorf("raft entry %d cannot be read: %w", index, err)
		}
		if entry.Index != index || entry.Term < found.lastTerm {
			return contents{}, fmt.Errorf("raft entry %d says that it is entry %d of term %d", index, entry.Index, entry.Term)
		}
		found.lastTerm = entry.Term
		if err := found.examine(&entry, applied, decode); err != nil {
			return contents{}, err
		}
	}
	return found, nil
}

func (c *contents) examine(entry *raft.Log, applied uint64, decode decoder) error {
	switch entry.Type {
	case raft.LogCommand:
		if err := intact(entry); err != nil {
			return err
		}
		if entry.Index <= applied {
			return nil
		}
		cmd, err := decode(entry.Data)
		if err != nil {
			return fmt.Errorf("raft entry %d: %w: %w", entry.Index, ErrNewer, err)
		}
		if _, ok := cmd.(ledger.BeginControllerChange); ok {
			c.changed = true
		}
	case raft.LogConfiguration:
		configuration, err := decodeConfiguration(entry.Data)
		if err != nil {
			return fmt.Errorf("raft entry %d: %w", entry.Index, err)
		}
		c.configuration, c.configured = configuration, true
	case raft.LogNoop, raft.LogBarrier:
	default:
		return fmt.Errorf("raft entry %d is of the unknown type %s", entry.Index, entry.Type)
	}
	return nil
}

// decodeConfiguration is raft's own, which panics.
func decodeConfiguration(data []byte) (c raft.Configuration, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return raft.DecodeConfiguration(data), nil
}
