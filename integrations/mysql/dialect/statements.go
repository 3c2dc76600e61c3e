package dialect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
)

// StopReceiver stops the thread that receives from the source.
func (d Dialect) StopReceiver() string { return "STOP " + d.Replica + " IO_THREAD" }

// StartReceiver starts the thread that receives from the source.
func (d Dialect) StartReceiver() string { return "START " + d.Replica + " IO_THREAD" }

// StartApplier starts the thread that applies what was received.
func (d Dialect) StartApplier() string { return "START " + d.Replica + " SQL_THREAD" }

// StopApplier stops the thread that applies what was received.
func (d Dialect) StopApplier() string { return "STOP " + d.Replica + " SQL_THREAD" }

// Undelay takes the applier's delay off, with the thread that applies stopped,
// and keeps what was received. While the receiver runs, a server with DelayAlone
// keeps it by itself. With both threads stopped, which the others demand, every
// server drops its relay log unless it is told where in it the applier is: to name
// that ends replication by GTID until the server is pointed again.
func (d Dialect) Undelay(receives bool, file string, pos int) (string, error) {
	if d.DelayAlone && receives {
		return d.Change + " " + d.Source + "_DELAY = 0", nil
	}
	if file == "" || pos <= 0 {
		return "", errors.New("the server does not say where its applier is in the relay log")
	}
	var opts options
	opts.number(d.Source+"_DELAY", "0")
	if d.Flavor == gtid.MariaDB {
		opts.number("MASTER_USE_GTID", "no")
	} else {
		opts.number(d.Source+"_AUTO_POSITION", "0")
	}
	opts.text("RELAY_LOG_FILE", file)
	opts.number("RELAY_LOG_POS", strconv.Itoa(pos))
	if opts.err != nil {
		return "", opts.err
	}
	return d.Change + " " + strings.Join(opts.list, ", "), nil
}

// Stop stops both threads.
func (d Dialect) Stop() string { return "STOP " + d.Replica }

// Start starts both threads.
func (d Dialect) Start() string { return "START " + d.Replica }

// Reset makes the server forget its source.
func (d Dialect) Reset() string { return "RESET " + d.Replica + " ALL" }

// ReadOnly holds every user that can be held, or lets all write again.
func (d Dialect) ReadOnly(on bool) string {
	switch {
	case !on: // this clears super_read_only too
		return "SET GLOBAL read_only = 0"
	case d.SuperReadOnly: // this sets read_only too
		return "SET GLOBAL super_read_only = 1"
	default:
		return "SET GLOBAL read_only = 1"
	}
}

// ReadOnlyState asks for read_only and super_read_only, under these names.
func (d Dialect) ReadOnlyState() string {
	if d.SuperReadOnly {
		return "SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only"
	}
	return "SELECT @@global.read_only AS read_only, 0 AS super_read_only"
}

// Wait waits until the position (as gtid.Set.Position prints it) was applied,
// for at most the timeout. Where whole seconds are all the server takes, it is
// rounded up. The answer has one column, waited.
func (d Dialect) Wait(position string, timeout time.Duration) (string, error) {
	quoted, err := Quote("GTID position", position)
	if err != nil {
		return "", err
	}
	seconds := strconv.FormatFloat(timeout.Seconds(), 'f', 3, 64)
	if d.WholeSeconds {
		seconds = strconv.FormatInt(int64((timeout+time.Second-1)/time.Second), 10)
	}
	return fmt.Sprintf(d.wait, quoted, seconds), nil
}

// Tripwire is the query that stays open for as long as the server lives.
func (d Dialect) Tripwire() string {
	const sleep = "SELECT /* switchyard tripwire */ SLEEP(31536000)"
	if d.QueryTimeout == "" {
		return sleep
	}
	return "SET SESSION " + d.QueryTimeout + " = 0; " + sleep
}

// Executed asks for all that the server has applied or written, to be read by
// ParseExecuted.
func (d Dialect) Executed() string {
	if d.Flavor == gtid.MariaDB {
		return "SELECT @@global.server_id AS server_id, @@global.gtid_binlog_state AS gtid_binlog_state, " +
			"@@global.gtid_slave_pos AS gtid_slave_pos, @@global.gtid_binlog_pos AS gtid_binlog_pos"
	}
	return "SELECT @@global.server_id AS server_id, @@global.gtid_executed AS gtid_executed"
}

// ParseExecuted reads the row that Executed asked for.
func (d Dialect) ParseExecuted(row map[string]string) (gtid.Set, error) {
	if d.Flavor == gtid.MySQL {
		return gtid.ParseMySQL(row["gtid_executed"])
	}
	id, err := strconv.ParseUint(row["server_id"], 10, 32)
	if err != nil {
		return gtid.Set{}, fmt.Errorf("server_id %q: %w", row["server_id"], err)
	}
	return gtid.ParseMariaDB(uint32(id), row["gtid_binlog_state"], row["gtid_slave_pos"], row["gtid_binlog_pos"])
}

// AdoptOwnWrites makes a MariaDB server that was a master begin where its own
// binary log ends: its gtid_slave_pos does not know what it wrote itself. It is
// empty for MySQL, which knows.
func (d Dialect) AdoptOwnWrites() string {
	if d.Flavor == gtid.MariaDB {
		return "SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos"
	}
	return ""
}

// TLSMode is how a replica protects the connection to its source.
type TLSMode string

// The modes. With TLSKeep the server's options stay as they are.
const (
	TLSKeep     TLSMode = ""
	TLSOff      TLSMode = "off"
	TLSRequired TLSMode = "required"
	TLSVerify   TLSMode = "verify"
)

// Pointer is what a replica has to know of its source.
type Pointer struct {
	Host           string
	Port           uint16
	User, Password string
	ConnectRetry   time.Duration
	RetryCount     int
	Heartbeat      time.Duration
	TLS            TLSMode
	// CA, Cert and Key are files on the replica; an empty one is not set.
	CA, Cert, Key string
}

// ChangeSource points a stopped replica to a source, by GTID. No error of it
// repeats the password.
func (d Dialect) ChangeSource(p Pointer) (string, error) {
	if p.Host == "" || p.Port == 0 {
		return "", errors.New("source: want a host and a port")
	}
	var opts options
	opts.text(d.Source+"_HOST", p.Host)
	opts.number(d.Source+"_PORT", strconv.Itoa(int(p.Port)))
	opts.text(d.Source+"_USER", p.User)
	opts.text(d.Source+"_PASSWORD", p.Password)
	opts.number(d.Source+"_CONNECT_RETRY", strconv.Itoa(max(1, int(p.ConnectRetry/time.Second))))
	if d.RetryCount {
		opts.number(d.Source+"_RETRY_COUNT", strconv.Itoa(p.RetryCount))
	}
	opts.number(d.Source+"_HEARTBEAT_PERIOD", strconv.FormatFloat(p.Heartbeat.Seconds(), 'f', 3, 64))
	d.tls(&opts, p)
	if d.Flavor == gtid.MariaDB {
		opts.number("MASTER_USE_GTID", "slave_pos")
	} else {
		opts.number(d.Source+"_AUTO_POSITION", "1")
	}
	if opts.err != nil {
		return "", opts.err
	}
	return d.Change + " " + strings.Join(opts.list, ", "), nil
}

func (d Dialect) tls(opts *options, p Pointer) {
	switch p.TLS {
	case TLSKeep:
	case TLSOff:
		opts.number(d.Source+"_SSL", "0")
	case TLSRequired, TLSVerify:
		opts.number(d.Source+"_SSL", "1")
		verify := "0"
		if p.TLS == TLSVerify {
			verify = "1"
		}
		opts.number(d.Source+"_SSL_VERIFY_SERVER_CERT", verify)
		for _, file := range []struct{ option, path string }{{"CA", p.CA}, {"CERT", p.Cert}, {"KEY", p.Key}} {
			if file.path != "" {
				opts.text(d.Source+"_SSL_"+file.option, file.path)
			}
		}
	default:
		opts.err = fmt.Errorf("replication TLS mode %q: want off, required, verify or nothing", p.TLS)
	}
	// Without TLS, caching_sha2_password lets nobody in who lacks the key.
	if d.PublicKey && (p.TLS == TLSKeep || p.TLS == TLSOff) {
		opts.number("GET_"+d.Source+"_PUBLIC_KEY", "1")
	}
}

type options struct {
	list []string
	err  error
}

func (o *options) text(name, value string) {
	quoted, err := Quote(name, value)
	if err != nil && o.err == nil {
		o.err = err
	}
	o.list = append(o.list, name+" = "+quoted)
}

func (o *options) number(name, value string) { o.list = append(o.list, name+" = "+value) }
