package tail

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"switchyard/controller/gtid"
)

// The kinds of events that begin, end or frame a transaction.
const (
	queryEvent      = byte(replication.QUERY_EVENT)
	rotateEvent     = byte(replication.ROTATE_EVENT)
	stopEvent       = byte(replication.STOP_EVENT)
	formatEvent     = byte(replication.FORMAT_DESCRIPTION_EVENT)
	xidEvent        = byte(replication.XID_EVENT)
	gtidEvent       = byte(replication.GTID_EVENT)
	anonymousEvent  = byte(replication.ANONYMOUS_GTID_EVENT)
	previousEvent   = byte(replication.PREVIOUS_GTIDS_EVENT)
	preparedEvent   = byte(replication.XA_PREPARE_LOG_EVENT)
	payloadEvent    = byte(replication.TRANSACTION_PAYLOAD_EVENT)
	taggedEvent     = byte(replication.GTID_TAGGED_LOG_EVENT)
	checkpointEvent = byte(replication.MARIADB_BINLOG_CHECKPOINT_EVENT)
	mariaGTIDEvent  = byte(replication.MARIADB_GTID_EVENT)
	mariaListEvent  = byte(replication.MARIADB_GTID_LIST_EVENT)
	encryptionEvent = byte(replication.MARIADB_START_ENCRYPTION_EVENT)
	squeezedEvent   = byte(replication.MARIADB_QUERY_COMPRESSED_EVENT)
)

// event is one event of a file.
type event struct {
	raw  []byte
	kind byte
	at   int64
	sum  int // bytes of checksum at its end
}

func (e event) body() []byte { return e.raw[headerSize : len(e.raw)-e.sum] }

func (e event) end() int64 { return e.at + int64(len(e.raw)) }

// name is a transaction's GTID: a numbering, and the number in it.
type name struct {
	flavor gtid.Flavor
	// of is UUID, UUID:TAG, or on MariaDB DOMAIN-SERVER.
	of     string
	domain uint32
	number uint64
}

// follows reports whether n may be in one run with the one before it.
func (n name) follows(before name) bool {
	if n.flavor == gtid.MariaDB {
		return n.of == before.of && n.number > before.number
	}
	return n.of == before.of && n.number == before.number+1
}

// through is the set of a run of transactions.
func through(first, last name, server uint32) (gtid.Set, error) {
	if first.flavor == gtid.MariaDB {
		return gtid.ParseMariaDB(server, fmt.Sprintf("%s-%d", last.of, last.number))
	}
	return gtid.ParseMySQL(fmt.Sprintf("%s:%d-%d", first.of, first.number, last.number))
}

// group is the transaction that is being read.
type group struct {
	open bool
	transaction
	// begun is set once it has a BEGIN, so that only a commit ends it.
	begun bool
	// alone is set on MariaDB for one that its first statement ends.
	alone bool
}

func (s *scan) event(e event) error {
	switch e.kind {
	case formatEvent:
		return s.describe(e)
	case previousEvent, mariaListEvent:
		return s.begin(e)
	case encryptionEvent:
		return errors.New("it is encrypted (encrypt_binlog), which is not read")
	case gtidEvent, taggedEvent, mariaGTIDEvent:
		if s.now.open {
			return fmt.Errorf("transaction %s:%d at byte %d does not end where the next begins", s.now.of, s.now.number, s.now.from)
		}
		n, alone, err := s.nameOf(e)
		if err != nil {
			return fmt.Errorf("the GTID at byte %d: %w", e.at, err)
		}
		s.now = group{open: true, transaction: transaction{name: n, from: e.at}, begun: n.flavor == gtid.MariaDB && !alone, alone: alone}
		return nil
	case anonymousEvent:
		return fmt.Errorf("the transaction at byte %d has no GTID", e.at)
	case rotateEvent, stopEvent, checkpointEvent:
		return nil
	}
	if !s.now.open {
		return fmt.Errorf("the event at byte %d, of kind %s, is in no transaction with a GTID", e.at, replication.EventType(e.kind))
	}
	ends, err := s.ends(e)
	if err != nil || !ends {
		return err
	}
	s.now.open, s.now.to = false, e.end()
	return s.keep(s.now.transaction)
}

// ends reports whether an event is the last of its transaction.
func (s *scan) ends(e event) (bool, error) {
	switch e.kind {
	case xidEvent, preparedEvent, payloadEvent:
		return true, nil
	case squeezedEvent: // a long statement, and so no COMMIT
		return !s.now.begun, nil
	case queryEvent:
	default:
		return false, nil
	}
	text, err := statement(e.body())
	if err != nil {
		return false, fmt.Errorf("the statement at byte %d: %w", e.at, err)
	}
	switch {
	case text == "COMMIT" || text == "ROLLBACK" || strings.HasPrefix(text, "XA COMMIT") || strings.HasPrefix(text, "XA ROLLBACK"):
		return true, nil
	case text == "BEGIN" || strings.HasPrefix(text, "XA START") || strings.HasPrefix(text, "XA BEGIN"):
		s.now.begun = true
		return false, nil
	}
	return !s.now.begun, nil
}

// statement is the beginning of a query event's statement, in capitals.
func statement(body []byte) (string, error) {
	const fixed = 13
	if len(body) < fixed {
		return "", errors.New("its event is too short")
	}
	schema, status := int(body[8]), int(binary.LittleEndian.Uint16(body[11:]))
	if len(body) < fixed+status+schema+1 {
		return "", errors.New("its event is too short")
	}
	text := body[fixed+status+schema+1:]
	if string(text) == "BEGIN" {
		return "BEGIN", nil
	}
	if len(text) > 40 {
		text = text[:40]
	}
	return strings.ToUpper(strings.TrimSpace(string(text))), nil
}

// describe takes a file's own description, and the flavor with it.
func (s *scan) describe(e event) error {
	body := e.raw[headerSize:]
	if len(body) < 57 {
		return errors.New("its format is not described")
	}
	s.format = bytes.Clone(e.raw)
	s.server = binary.LittleEndian.Uint32(e.raw[5:])
	s.version = string(bytes.TrimRight(body[2:52], "\x00"))
	s.flavor = gtid.MySQL
	if strings.Contains(s.version, "MariaDB") {
		s.flavor = gtid.MariaDB
	}
	return nil
}

// begin takes what the server had when it began the file.
func (s *scan) begin(e event) (err error) {
	defer malformed(&err, e)
	if s.begins {
		return nil // MariaDB writes its list again
	}
	if e.kind == previousEvent {
		var p replication.PreviousGTIDsEvent
		if err := p.Decode(e.body()); err != nil {
			return err
		}
		s.before, err = gtid.ParseMySQL(p.GTIDSets)
	} else {
		var l replication.MariadbGTIDListEvent
		if err := l.Decode(e.body()); err != nil {
			return err
		}
		var names []string
		for _, g := range l.GTIDs {
			names = append(names, g.String())
		}
		s.before, err = gtid.ParseMariaDB(s.server, names...)
	}
	s.begins = err == nil
	return err
}

// malformed makes an error of a decoder that stumbles over what no server wrote.
func malformed(err *error, e event) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("the event at byte %d is malformed: %v", e.at, cause)
	}
}

// nameOf is nameOf, which takes its time, where the numbering is another than
// that of the transaction before.
func (s *scan) nameOf(e event) (n name, alone bool, err error) {
	body := e.body()
	switch {
	case e.kind == gtidEvent && len(body) >= 25:
		if bytes.Equal(body[1:17], s.origin) {
			s.last.number = binary.LittleEndian.Uint64(body[17:])
			return s.last, false, nil
		}
		s.origin = append(s.origin[:0], body[1:17]...)
	case e.kind == mariaGTIDEvent && len(body) >= 13:
		// The domain, and the server of the event's header.
		if len(s.origin) == 8 && bytes.Equal(body[8:12], s.origin[:4]) && bytes.Equal(e.raw[5:9], s.origin[4:]) {
			s.last.number = binary.LittleEndian.Uint64(body)
			return s.last, body[12]&replication.BINLOG_MARIADB_FL_STANDALONE != 0, nil
		}
		s.origin = append(append(s.origin[:0], body[8:12]...), e.raw[5:9]...)
	default:
		s.origin = s.origin[:0]
	}
	if s.last, alone, err = nameOf(e); err != nil {
		s.origin = s.origin[:0]
	}
	return s.last, alone, err
}

// nameOf reads a GTID event; alone is set where the next statement is all of it.
func nameOf(e event) (n name, alone bool, err error) {
	defer malformed(&err, e)
	switch e.kind {
	case mariaGTIDEvent:
		var g replication.MariadbGTIDEvent
		if err := g.Decode(e.body()); err != nil {
			return name{}, false, err
		}
		server := binary.LittleEndian.Uint32(e.raw[5:])
		return name{flavor: gtid.MariaDB, of: fmt.Sprintf("%d-%d", g.GTID.DomainID, server), domain: g.GTID.DomainID,
			number: g.GTID.SequenceNumber}, g.Flags&replication.BINLOG_MARIADB_FL_STANDALONE != 0, nil
	case taggedEvent:
		var g replication.GtidTaggedLogEvent
		if err := g.Decode(e.body()); err != nil {
			return name{}, false, err
		}
		return mysqlName(&g.GTIDEvent), false, nil
	default:
		var g replication.GTIDEvent
		if err := g.Decode(e.body()); err != nil {
			return name{}, false, err
		}
		return mysqlName(&g), false, nil
	}
}

func mysqlName(g *replication.GTIDEvent) name {
	sid := hex.EncodeToString(g.SID)
	of := fmt.Sprintf("%s-%s-%s-%s-%s", sid[:8], sid[8:12], sid[12:16], sid[16:20], sid[20:])
	if g.Tag != "" {
		of += ":" + g.Tag
	}
	return name{flavor: gtid.MySQL, of: of, number: uint64(g.GNO)}
}
