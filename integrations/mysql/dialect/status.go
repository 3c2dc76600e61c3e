package dialect

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// Status is one replication channel as the server shows it.
type Status struct {
	topology.Replication
	// Channel is its name; empty is the default one.
	Channel string
	// User is the account that the receiver uses.
	User         string
	ConnectRetry time.Duration
	// RelayFile and RelayPos are where the applier is in what was received.
	RelayFile string
	RelayPos  int
	// Filters are the channel's replication filters, as FilterLine prints them.
	Filters string
	// TLSVerify, CA, Cert and Key are the receiver's TLS options.
	TLSVerify     bool
	CA, Cert, Key string
}

// ParseStatus reads one row of the Status statement of the server with this
// id. A row that names no source gives nil.
func (d Dialect) ParseStatus(serverID uint32, row map[string]string) (*Status, error) {
	source, replica := "Master", "Slave"
	if d.Source == "SOURCE" {
		source, replica = "Source", "Replica"
	}
	host := row[source+"_Host"]
	if host == "" {
		return nil, nil
	}
	r := reader{row: row}
	s := &Status{
		Channel:      cmp.Or(row["Channel_Name"], row["Connection_name"]),
		User:         row[source+"_User"],
		ConnectRetry: r.seconds("Connect_Retry"),
		Filters:      StatusFilters(row),
	}
	s.RetryCount = r.number(source+"_Retry_Count", 31)
	s.Source = topology.Key{Host: host, Port: uint16(r.number(source+"_Port", 16))}
	if port, tail := tailOf(s.User); tail {
		s.Source.Port = port
	}
	s.SourceUUID = row[source+"_UUID"]
	s.IO = topology.ThreadState(row[replica+"_IO_Running"])
	s.SQL = topology.ThreadState(row[replica+"_SQL_Running"])
	s.IOErrno, s.IOError = r.number("Last_IO_Errno", 31), row["Last_IO_Error"]
	s.SQLErrno, s.SQLError = r.number("Last_SQL_Errno", 31), row["Last_SQL_Error"]
	s.UsesGTID = row["Auto_Position"] == "1"
	s.ReceivedTo = coordinates(row[source+"_Log_File"], row["Read_"+source+"_Log_Pos"])
	s.AppliedTo = coordinates(row["Relay_"+source+"_Log_File"], row["Exec_"+source+"_Log_Pos"])
	s.RelayFile, s.RelayPos = row["Relay_Log_File"], r.number("Relay_Log_Pos", 63)
	if _, known := row["Seconds_Behind_"+source]; known {
		lag := r.seconds("Seconds_Behind_" + source)
		s.Lag = &lag
	}
	s.Delay = r.seconds("SQL_Delay")
	s.TLS = row[source+"_SSL_Allowed"] == "Yes"
	s.TLSVerify = row[source+"_SSL_Verify_Server_Cert"] == "Yes"
	s.CA, s.Cert, s.Key = row[source+"_SSL_CA_File"], row[source+"_SSL_Cert"], row[source+"_SSL_Key"]
	if d.Flavor == gtid.MariaDB {
		d.parseMariaDB(serverID, &r, s)
	} else {
		s.Received = r.set(gtid.ParseMySQL(row["Retrieved_Gtid_Set"]))
	}
	if r.err != nil {
		return nil, fmt.Errorf("replication status: %w", r.err)
	}
	return s, nil
}

// tailUser begins the user by which a replica takes the tail of a crashed
// server's binary log; the server's own port follows.
const tailUser = "switchyard-tail-"

// tailOf is the port of the server whose tail is taken by the user. A replica
// that takes it is shown as that server's own: what gives the tail away is none.
func tailOf(user string) (port uint16, tail bool) {
	rest, tail := strings.CutPrefix(user, tailUser)
	if !tail {
		return 0, false
	}
	digits, _, tail := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), tail && err == nil
}

func (d Dialect) parseMariaDB(serverID uint32, r *reader, s *Status) {
	using := r.row["Using_Gtid"]
	s.UsesGTID = using == "Slave_Pos" || using == "Current_Pos"
	s.Received = r.set(gtid.ParseMariaDB(serverID, r.row["Gtid_IO_Pos"]))
	s.Heartbeat = r.row["Slave_received_heartbeats"]
	s.HeartbeatPeriod = r.seconds("Slave_heartbeat_period")
}

func coordinates(file, offset string) string {
	if file == "" {
		return ""
	}
	return file + ":" + offset
}

// reader converts columns and keeps the first error.
type reader struct {
	row map[string]string
	err error
}

func (r *reader) number(column string, bits int) int {
	n, err := strconv.ParseUint(cmp.Or(r.row[column], "0"), 10, bits)
	r.keep(column, err)
	return int(n)
}

func (r *reader) seconds(column string) time.Duration {
	d, err := Seconds(cmp.Or(r.row[column], "0"))
	r.keep(column, err)
	return d
}

func (r *reader) set(s gtid.Set, err error) gtid.Set {
	r.keep("GTIDs", err)
	return s
}

func (r *reader) keep(column string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", column, err)
	}
}

// Seconds reads a number of seconds, which may have a fraction, as a duration.
func Seconds(text string) (time.Duration, error) {
	const most = 100 * 365 * 24 * 3600 // keeps the duration far from its limits
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of seconds", text)
	}
	if !(f >= -most && f <= most) {
		return 0, fmt.Errorf("%q is no sensible number of seconds", text)
	}
	return time.Duration(f * float64(time.Second)), nil
}
