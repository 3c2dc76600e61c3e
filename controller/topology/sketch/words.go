package sketch

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// set draws one word of a server.
func (d *drawing) set(s *topology.Server, word string) error {
	name, value, _ := strings.Cut(word, "=")
	value = strings.ReplaceAll(value, "_", " ")
	var err error
	for _, try := range []func(*topology.Server, string, string) (bool, error){
		d.setSamples, setPlace, setLog, setReplication, setSemiSync,
	} {
		var known bool
		if known, err = try(s, name, value); known || err != nil {
			break
		}
		err = fmt.Errorf("no such word")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

// setSamples draws what observers sample, and when the server was last seen.
func (d *drawing) setSamples(s *topology.Server, name, value string) (bool, error) {
	var err error
	switch name {
	case "stalled": // neither heartbeat nor position moved
		d.stalled[s.Key], err = time.ParseDuration(value)
	case "still": // the binary log did not move
		d.still[s.Key], err = time.ParseDuration(value)
	case "age": // the last picture is that old
		var age time.Duration
		age, err = time.ParseDuration(value)
		s.LastSeen = Start.Add(-age)
	default:
		return false, nil
	}
	return true, err
}

// setPlace draws what a server is and where it stands.
func setPlace(s *topology.Server, name, value string) (bool, error) {
	i := s.Last
	switch name {
	case "dc":
		i.DataCenter = value
	case "region":
		i.Region = value
	case "version":
		i.Version = value
	case "uuid":
		i.UUID = value
	case "id":
		return true, number(value, func(n int) { i.ServerID = uint32(n) })
	case "uptime":
		return true, span(value, &i.Uptime)
	case "readonly":
		i.ReadOnly = true
	case "writable":
		i.ReadOnly, i.SuperReadOnly = false, false
	case "superreadonly":
		i.ReadOnly, i.SuperReadOnly = true, true
	case "boots": // read-only or writable
		i.Boots = topology.Boots(value)
	case "passer": // user@host, who may write in spite of read_only; may be said twice
		i.FencePassers = append(i.FencePassers, value)
	case "unsupported": // a_sentence
		i.Unsupported = append(i.Unsupported, value)
	default:
		return false, nil
	}
	return true, nil
}

// setLog draws a server's binary log and what it has executed.
func setLog(s *topology.Server, name, value string) (bool, error) {
	i := s.Last
	var err error
	switch name {
	case "exec":
		i.Executed, err = parseSet(i, value)
	case "format": // ROW, MIXED or STATEMENT
		i.BinlogFormat = value
	case "nobinlog":
		i.LogBin = false
	case "nolog": // log_replica_updates is off
		i.LogReplicaUpdates = false
	case "nogtidmode": // it does not write GTIDs
		i.GTIDMode = false
	case "binlogpos": // file:offset
		i.BinlogPosition = value
	case "filters":
		i.Filters = value
	case "workers": // of the parallel applier
		err = number(value, func(n int) { i.Workers = n })
	case "noorder": // parallel appliers commit out of order
		i.KeepsOrder = false
	default:
		return false, nil
	}
	return true, err
}

// setReplication draws a replica's channel; its source is drawn before.
func setReplication(s *topology.Server, name, value string) (bool, error) {
	i, r := s.Last, s.Last.Replication
	if r == nil {
		r = &topology.Replication{} // thrown away: the word is refused below
	}
	var err error
	switch name {
	case "recv":
		r.Received, err = parseSet(i, value)
	case "io":
		r.IO = topology.ThreadState(value)
	case "ioerror":
		r.IOError = value
	case "ioerrno":
		err = number(value, func(n int) { r.IOErrno = n })
	case "sql":
		r.SQL = topology.ThreadState(value)
	case "sqlerror":
		r.SQLError = value
	case "sqlerrno":
		err = number(value, func(n int) { r.SQLErrno = n })
	case "hb":
		err = span(value, &r.HeartbeatPeriod)
	case "lag":
		var lag time.Duration
		err = span(value, &lag)
		r.Lag = &lag
	case "delay": // of the applier, configured
		err = span(value, &r.Delay)
	case "retry": // how often the receiver tries to connect
		err = number(value, func(n int) { r.RetryCount = n })
	case "nogtid": // by file and position
		r.UsesGTID = false
	default:
		return false, nil
	}
	if err == nil && i.Replication == nil {
		err = fmt.Errorf("write <SOURCE before it")
	}
	return true, err
}

// setSemiSync draws the semi-sync plugins.
func setSemiSync(s *topology.Server, name, value string) (bool, error) {
	y := &s.Last.SemiSync
	var err error
	switch name {
	case "semisync": // it has the plugins
		y.Available = true
	case "source": // a lossless source that waits for one acknowledgement
		y.Available, y.SourceEnabled, y.SourceOn = true, true, true
		y.WaitCount, y.Timeout, y.WaitNoReplica, y.AfterSync = 1, 24*365*time.Hour, true, true
	case "acks": // it acknowledges as a replica
		y.Available, y.ReplicaEnabled, y.ReplicaOn = true, true, true
	case "degraded": // the source gave up waiting
		y.SourceOn = false
	case "clients":
		err = number(value, func(n int) { y.Clients = n })
	case "wait":
		err = number(value, func(n int) { y.WaitCount = n })
	case "waiting":
		err = number(value, func(n int) { y.Waiting = n })
	case "timeout":
		err = span(value, &y.Timeout)
	case "nowait": // it degrades at once with too few replicas
		y.WaitNoReplica = false
	case "aftercommit": // the wait point that can lose what was read
		y.AfterSync = false
	default:
		return false, nil
	}
	return true, err
}

func number(text string, put func(int)) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	put(n)
	return nil
}

func span(text string, to *time.Duration) (err error) {
	*to, err = time.ParseDuration(text)
	return err
}

// shortUUID is uN: for the UUID of the server with id N.
var shortUUID = regexp.MustCompile(`\bu(\d+):`)

func uuid(id int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", id) }

func parseSet(i *topology.Instance, text string) (gtid.Set, error) {
	if !strings.Contains(text, ":") {
		return gtid.ParseMariaDB(i.ServerID, text)
	}
	i.Flavor = gtid.MySQL
	return gtid.ParseMySQL(shortUUID.ReplaceAllStringFunc(text, func(short string) string {
		id, err := strconv.Atoi(short[1 : len(short)-1])
		if err != nil {
			return short // the parser says what is wrong with it
		}
		return uuid(id) + ":"
	}))
}
