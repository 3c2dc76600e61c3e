package tail

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"switchyard/controller/gtid"
)

const (
	headerSize   = 19
	checksumSize = 4
	// flagInUse is set in a file that was not closed in order.
	flagInUse = 0x01
	// maxEvent is the most that a server lets an event have.
	maxEvent = 1 << 30
)

// Tail is what a log holds beyond a set of transactions.
type Tail struct {
	// Set is these transactions, Count how many there are, and Bytes how long.
	Set   gtid.Set
	Count int
	Bytes int64
	// Problem says why there may be more that cannot be read; empty where all was.
	Problem string

	flavor  gtid.Flavor
	version string // the server's
	server  uint32 // its id
	uuid    string
	files   []part
}

// part is one file's share of a tail.
type part struct {
	logFile
	format       []byte // the file's format description event
	checksums    bool
	transactions []transaction
}

// transaction is the bytes of one in its file.
type transaction struct {
	name
	from, to int64
}

// Read finds what a log has and holds has not: whole transactions, oldest first.
// It reads as many of the newest files as it has to.
func (l *Log) Read(ctx context.Context, holds gtid.Set) (*Tail, error) {
	t := &Tail{uuid: l.uuid}
	for n := len(l.files) - 1; n >= 0; n-- {
		s := &scan{ctx: ctx, holds: holds, part: part{logFile: l.files[n]}}
		torn, err := s.run()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.files[n].name, err)
		}
		if torn != "" {
			t.Problem = fmt.Sprintf("%s: %s, and what comes after that is not read", l.files[n].name, torn)
			// What was read after it would come with a gap before it.
			t.files, t.Set, t.Count, t.Bytes = nil, gtid.Set{}, 0, 0
		}
		if t.flavor == gtid.Unknown && s.flavor != gtid.Unknown {
			t.flavor, t.version, t.server = s.flavor, s.version, s.server
		}
		t.take(s)
		if s.begins && holds.Contains(s.before) {
			return t, nil
		}
		if n == 0 && s.begins {
			return nil, fmt.Errorf("binary logs before %s were purged, and with them %s", l.files[0].name, s.before.Subtract(holds))
		}
		if n == 0 {
			return nil, fmt.Errorf("%s does not say what came before it", l.files[0].name)
		}
	}
	return t, nil
}

func (t *Tail) take(s *scan) {
	if len(s.part.transactions) == 0 {
		return
	}
	t.files = append([]part{s.part}, t.files...)
	t.Set = t.Set.Union(s.found)
	t.Count += len(s.part.transactions)
	for _, x := range s.part.transactions {
		t.Bytes += x.to - x.from
	}
}

// scan reads one file.
type scan struct {
	ctx context.Context
	part
	holds gtid.Set

	flavor  gtid.Flavor
	version string
	server  uint32
	// before is what the server had when it began the file; begins once that is known.
	before gtid.Set
	begins bool
	found  gtid.Set

	now     group
	pending []transaction // a run, not compared with holds yet
	read    int64
	buffer  []byte
	// last is the last GTID that was read, and origin the bytes that its numbering
	// is named after: a file has millions of the same.
	last   name
	origin []byte
}

// run returns what the file's bytes are torn by: nothing where they end well, or
// in the midst of the last transaction, as they do after a crash.
func (s *scan) run() (torn string, err error) {
	magic := make([]byte, 4)
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), int(min(max(s.size, 64), 1<<20)))
	if _, err := io.ReadFull(r, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", nil // it was just being made
	} else if err != nil {
		return "", err
	}
	switch string(magic) {
	case "\xfebin":
	case "\xfdbin":
		return "", errors.New("it is encrypted (binlog_encryption), which is not read")
	default:
		return "", errors.New("this is no binary log")
	}
	s.read = 4
	for {
		event, err := s.next(r)
		switch {
		case errors.Is(err, errEnd):
			return "", s.settle()
		case errors.As(err, new(*tornError)):
			return err.Error(), s.settle()
		case err != nil:
			return "", err
		}
		if err := s.event(event); err != nil {
			return "", err
		}
	}
}

// errEnd is the end of a file, in the midst of an event or not.
var errEnd = errors.New("the end")

// tornError is about bytes that are no event, in the midst of a file.
type tornError struct{ why string }

func (e *tornError) Error() string { return e.why }

// next returns the next whole event; it is valid until the one after.
func (s *scan) next(r *bufio.Reader) (event, error) {
	if err := s.ctx.Err(); err != nil {
		return event{}, context.Cause(s.ctx)
	}
	header, err := r.Peek(headerSize)
	if err != nil {
		return event{}, ended(err)
	}
	size := int64(binary.LittleEndian.Uint32(header[9:]))
	switch {
	case size < headerSize || size > maxEvent:
		return event{}, &tornError{fmt.Sprintf("at byte %d there is no event", s.read)}
	case s.read+size > s.size:
		return event{}, errEnd
	}
	if int64(cap(s.buffer)) < size {
		s.buffer = make([]byte, size)
	}
	raw := s.buffer[:size]
	if _, err := io.ReadFull(r, raw); err != nil {
		return event{}, ended(err)
	}
	e := event{raw: raw, kind: raw[4], at: s.read}
	s.read += size
	if e.kind == formatEvent {
		if len(raw) < headerSize+57+1+checksumSize {
			return event{}, &tornError{fmt.Sprintf("at byte %d the format is not described", e.at)}
		}
		switch how := raw[len(raw)-checksumSize-1]; how {
		case 0, 1:
			s.checksums = how == 1
		default:
			return event{}, &tornError{fmt.Sprintf("at byte %d there are checksums of an unknown kind, %d", e.at, how)}
		}
	}
	if s.checksums {
		if !sound(raw) {
			return event{}, &tornError{fmt.Sprintf("at byte %d the checksum does not fit", e.at)}
		}
		e.sum = checksumSize
	}
	return e, nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnd
	}
	return err
}

// sound reports whether an event's checksum fits; it is made without the flag of
// a file in use.
func sound(raw []byte) bool {
	want := binary.LittleEndian.Uint32(raw[len(raw)-checksumSize:])
	if raw[4] != formatEvent || raw[17]&flagInUse == 0 {
		return crc32.ChecksumIEEE(raw[:len(raw)-checksumSize]) == want
	}
	plain := append([]byte(nil), raw...)
	plain[17] &^= flagInUse
	return crc32.ChecksumIEEE(plain[:len(plain)-checksumSize]) == want
}

// keep takes a whole transaction. Those that follow each other are compared with
// holds together, since a file has millions.
func (s *scan) keep(x transaction) error {
	const longest = 1000
	if n := len(s.pending); n > 0 && (n == longest || !x.follows(s.pending[n-1].name)) {
		if err := s.settle(); err != nil {
			return err
		}
	}
	s.pending = append(s.pending, x)
	return nil
}

// settle keeps of the pending run what holds has not.
func (s *scan) settle() error {
	if len(s.pending) == 0 {
		return nil
	}
	run := s.pending
	s.pending = s.pending[:0:0]
	whole, err := through(run[0].name, run[len(run)-1].name, s.server)
	if err != nil || s.holds.Contains(whole) {
		return err
	}
	for _, x := range run {
		one, err := through(x.name, x.name, s.server)
		if err != nil {
			return err
		}
		if !s.holds.Contains(one) {
			s.part.transactions = append(s.part.transactions, x)
			s.found = s.found.Union(one)
		}
	}
	return nil
}
