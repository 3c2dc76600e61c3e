package tail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/go-mysql-org/go-mysql/server"

	"switchyard/controller/gtid"
)

// dump is one replica's connection.
type dump struct {
	conn  *server.Conn
	tail  *Tail
	until time.Time
	// variables are what the replica has set.
	variables map[string]string
}

// command answers one command; over is true once the connection has had its use.
func (d *dump) command(ctx context.Context, command byte, body []byte) (over bool, err error) {
	switch command {
	case mysql.COM_QUIT:
		return true, nil
	case mysql.COM_PING, mysql.COM_REGISTER_SLAVE, mysql.COM_INIT_DB:
		return false, d.conn.WriteValue(nil)
	case mysql.COM_QUERY:
		return false, d.conn.WriteValue(d.query(string(body)))
	case mysql.COM_BINLOG_DUMP:
		held, err := before(strings.Trim(d.variables["slave_connect_state"], "'"))
		if err != nil {
			return true, errors.Join(err, d.conn.WriteValue(err))
		}
		return true, d.send(ctx, held)
	case mysql.COM_BINLOG_DUMP_GTID:
		held, err := within(body)
		if err != nil {
			return true, errors.Join(err, d.conn.WriteValue(err))
		}
		return true, d.send(ctx, held)
	}
	return false, d.conn.WriteValue(mysql.NewDefaultError(mysql.ER_UNKNOWN_COM_ERROR))
}

// has reports whether the replica has a transaction.
type has func(name) (bool, error)

// before is what a MariaDB replica has: all of a domain up to its last.
func before(state string) (has, error) {
	last := map[uint32]uint64{}
	for item := range strings.SplitSeq(state, ",") {
		if item == "" {
			continue
		}
		var domain, server uint32
		var number uint64
		if _, err := fmt.Sscanf(item, "%d-%d-%d", &domain, &server, &number); err != nil {
			return nil, fmt.Errorf("the replica's position %q: %w", state, err)
		}
		last[domain] = number
	}
	return func(n name) (bool, error) { return n.number <= last[n.domain], nil }, nil
}

// within is what a MySQL replica has: the set that it sends.
func within(body []byte) (held has, err error) {
	defer malformed(&err, event{})
	short := errors.New("the replica's request is too short")
	if len(body) < 10 {
		return nil, short
	}
	rest := body[6:]
	length := uint64(binary.LittleEndian.Uint32(rest)) + 4 + 8 + 4
	if uint64(len(rest)) < length {
		return nil, short
	}
	var p replication.PreviousGTIDsEvent
	if err := p.Decode(rest[length:]); err != nil {
		return nil, err
	}
	set, err := gtid.ParseMySQL(p.GTIDSets)
	if err != nil {
		return nil, err
	}
	return func(n name) (bool, error) {
		one, err := through(n, n, 0)
		return err == nil && set.Contains(one), err
	}, nil
}

// query answers what replicas ask of their source before they ask for its log:
// a result, an error, or nil for OK.
func (d *dump) query(text string) any {
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), ";"))
	upper := strings.ToUpper(text)
	shown := regexp.MustCompile(`^SHOW (?:GLOBAL )?VARIABLES LIKE '(\w+)'$`)
	switch {
	case strings.HasPrefix(upper, "SET "):
		for _, set := range regexp.MustCompile(`@(\w+)\s*=\s*('[^']*'|[^,]+)`).FindAllStringSubmatch(text, -1) {
			d.variables[strings.ToLower(set[1])] = strings.TrimSpace(set[2])
		}
		return nil
	case shown.MatchString(upper):
		asked := shown.FindStringSubmatch(upper)[1]
		if value, known := d.answer("@@GLOBAL." + asked); known {
			return result([]string{"Variable_name", "Value"}, strings.ToLower(asked), value)
		}
		// MariaDB asks so for semi-sync, which there is none of.
		return result([]string{"Variable_name", "Value"})
	case strings.HasPrefix(upper, "SELECT "):
		asked := strings.TrimSpace(text[len("SELECT "):])
		if value, known := d.answer(strings.ToUpper(asked)); known {
			return result([]string{asked}, value)
		}
		return mysql.NewDefaultError(mysql.ER_UNKNOWN_SYSTEM_VARIABLE, strings.TrimPrefix(strings.ToLower(asked), "@@global."))
	}
	return mysql.NewError(mysql.ER_NOT_SUPPORTED_YET, "this is the tail of a binary log, and no server")
}

func (d *dump) answer(asked string) (value string, known bool) {
	switch asked {
	case "UNIX_TIMESTAMP()":
		return strconv.FormatInt(time.Now().Unix(), 10), true
	case "VERSION()", "@@VERSION", "@@GLOBAL.VERSION":
		return d.tail.version, true
	case "@@GLOBAL.SERVER_ID", "@@SERVER_ID":
		return strconv.Itoa(int(d.tail.server)), true
	case "@@GLOBAL.SERVER_UUID", "@@SERVER_UUID":
		return d.tail.id(), d.tail.flavor == gtid.MySQL
	case "@@GLOBAL.GTID_MODE", "@@GTID_MODE":
		return "ON", d.tail.flavor == gtid.MySQL
	case "@MASTER_BINLOG_CHECKSUM", "@SOURCE_BINLOG_CHECKSUM", "@@GLOBAL.BINLOG_CHECKSUM":
		if len(d.tail.files) > 0 && d.tail.files[0].checksums {
			return "CRC32", true
		}
		return "NONE", true
	case "@@GLOBAL.GTID_DOMAIN_ID":
		return "0", d.tail.flavor == gtid.MariaDB
	}
	return "", false
}

// id is the server's UUID; a replica wants one.
func (t *Tail) id() string {
	if t.uuid != "" {
		return t.uuid
	}
	return fmt.Sprintf("53776974-6368-7961-7264-%012x", t.server)
}

// result is a table with one row, or with none.
func result(columns []string, values ...string) any {
	var rows [][]any
	if len(values) > 0 {
		row := make([]any, len(values))
		for n, v := range values {
			row[n] = v
		}
		rows = append(rows, row)
	}
	set, err := mysql.BuildSimpleTextResultset(columns, rows)
	if err != nil {
		return err
	}
	return mysql.NewResult(set)
}

// send sends the files' transactions that the replica has not, and then waits until
// the replica has had enough.
func (d *dump) send(ctx context.Context, held has) error {
	for n, p := range d.tail.files {
		if err := d.open(p, n == 0); err != nil {
			return err
		}
		for _, x := range p.transactions {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !time.Now().Before(d.until) {
				return d.wait()
			}
			skip, err := held(x.name)
			if err != nil {
				return err
			}
			if skip {
				continue
			}
			if err := d.transaction(p, x); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return d.wait()
}

// wait lets the replica go on applying: it closes the connection when it is told to.
func (d *dump) wait() error {
	for {
		if _, err := d.conn.ReadPacket(); err != nil {
			return nil // it has gone, or its time is over
		}
	}
}

// open sends what a source sends at the beginning of a file.
func (d *dump) open(p part, first bool) error {
	body := binary.LittleEndian.AppendUint64(nil, 4)
	rotate := make([]byte, headerSize, headerSize+len(body)+len(p.name)+checksumSize)
	rotate = append(append(rotate, body...), p.name...)
	rotate[4] = rotateEvent
	binary.LittleEndian.PutUint32(rotate[5:], d.tail.server)
	const artificial = 0x20
	rotate[17] = artificial
	if d.tail.files[0].checksums {
		rotate = append(rotate, 0, 0, 0, 0)
	}
	finish(rotate, d.tail.files[0].checksums)
	if err := d.write(rotate); err != nil {
		return err
	}
	format := append([]byte(nil), p.format...)
	format[17] &^= flagInUse
	if first {
		// As where the beginning of a file is left out: temporary tables stay, and
		// the position is not this event's.
		binary.LittleEndian.PutUint32(format[headerSize+52:], 0)
		binary.LittleEndian.PutUint32(format[13:], 0)
	}
	finish(format, p.checksums)
	return d.write(format)
}

// finish writes an event's length and checksum.
func finish(raw []byte, checksum bool) {
	binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
	if checksum {
		binary.LittleEndian.PutUint32(raw[len(raw)-checksumSize:], crc32.ChecksumIEEE(raw[:len(raw)-checksumSize]))
	}
}

// transaction sends the events of one.
func (d *dump) transaction(p part, x transaction) error {
	header := make([]byte, headerSize)
	for at := x.from; at < x.to; {
		if _, err := p.file.ReadAt(header, at); err != nil {
			return err
		}
		size := int64(binary.LittleEndian.Uint32(header[9:]))
		if size < headerSize || at+size > x.to {
			return errors.New("it has changed since it was read")
		}
		raw := make([]byte, size)
		if _, err := p.file.ReadAt(raw, at); err != nil {
			return err
		}
		if p.checksums && !sound(raw) {
			return errors.New("it has changed since it was read")
		}
		if err := d.write(raw); err != nil {
			return err
		}
		at += size
	}
	return nil
}

// write sends one event as a packet of its own.
func (d *dump) write(raw []byte) error {
	packet := make([]byte, 5, 5+len(raw)) // the packet's header, and OK
	return d.conn.WritePacket(append(packet, raw...))
}
