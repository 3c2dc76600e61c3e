package binlog

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"switchyard/controller/gtid"
)

func (x *export) header() error {
	text := fmt.Sprintf("-- Transactions of %s that the cluster lacks, read from its binary log.\n"+
		"-- Review them before anything is applied. Values of TIMESTAMP columns are in UTC.\n", x.address)
	if x.summary.Missing != "" {
		text += "-- INCOMPLETE: " + oneLine(x.summary.Missing) + "\n"
	}
	return x.out.printf("%sSET time_zone = '+00:00';\nSET NAMES utf8mb4;\n", text)
}

// event writes what one event has to say, if its transaction is wanted.
func (x *export) event(ctx context.Context, ev *replication.BinlogEvent) error {
	at := time.Unix(int64(ev.Header.Timestamp), 0).UTC().Format(time.RFC3339)
	switch body := ev.Event.(type) {
	case *replication.GTIDEvent:
		return x.begin(at, mysqlName(body))
	case *replication.GtidTaggedLogEvent:
		return x.begin(at, mysqlName(&body.GTIDEvent))
	case *replication.MariadbGTIDEvent:
		return x.begin(at, body.GTID.String())
	}
	if !x.wanted {
		return nil
	}
	switch body := ev.Event.(type) {
	case *replication.TransactionPayloadEvent:
		for _, inner := range body.Events {
			if err := x.event(ctx, inner); err != nil {
				return err
			}
		}
	case *replication.QueryEvent:
		return x.query(body)
	case *replication.RowsEvent:
		return x.rows(ctx, body)
	case *replication.XIDEvent:
		return x.end()
	case *replication.IntVarEvent, *replication.GenericEvent, *replication.TableMapEvent, *replication.RowsQueryEvent,
		*replication.MariadbAnnotateRowsEvent, *replication.FormatDescriptionEvent, *replication.PreviousGTIDsEvent,
		*replication.MariadbGTIDListEvent, *replication.MariadbBinlogCheckPointEvent:
		// These only accompany the others.
	default:
		return x.out.printf("-- an event of type %s is left out\n", ev.Header.EventType)
	}
	return nil
}

// mysqlName is SOURCE:NUMBER or SOURCE:TAG:NUMBER.
func mysqlName(body *replication.GTIDEvent) string {
	sid := hex.EncodeToString(body.SID)
	source := fmt.Sprintf("%s-%s-%s-%s-%s", sid[:8], sid[8:12], sid[12:16], sid[16:20], sid[20:])
	if body.Tag != "" {
		source += ":" + body.Tag
	}
	return fmt.Sprintf("%s:%d", source, body.GNO)
}

// begin decides on a transaction by its name.
func (x *export) begin(at, name string) error {
	if err := x.end(); err != nil {
		return err
	}
	set, err := x.parse(name)
	if err != nil {
		return err
	}
	if x.wanted = !x.holds.Contains(set); !x.wanted {
		return nil
	}
	x.summary.Transactions++
	return x.out.printf("\n-- transaction %s, committed at %s\n", name, at)
}

func (x *export) parse(name string) (gtid.Set, error) {
	if x.holds.Flavor() == gtid.MariaDB {
		// Without a server of its own, so that every entry counts by itself.
		return gtid.ParseMariaDB(0, name)
	}
	return gtid.ParseMySQL(name)
}

// start writes BEGIN before the first change of a transaction.
func (x *export) start() error {
	if x.open {
		return nil
	}
	x.open = true
	return x.out.printf("BEGIN;\n")
}

func (x *export) end() error {
	open := x.open
	x.wanted, x.open = false, false
	if !open {
		return nil
	}
	return x.out.printf("COMMIT;\n")
}

// query writes a statement that was logged as such: DDL, or a change under
// binlog_format=STATEMENT.
func (x *export) query(body *replication.QueryEvent) error {
	text := strings.TrimSpace(string(body.Query))
	switch strings.ToUpper(text) {
	case "BEGIN":
		return x.start()
	case "COMMIT":
		return x.end()
	case "ROLLBACK":
		x.open = false
		return x.out.printf("ROLLBACK;\n")
	}
	if schema := string(body.Schema); schema != "" && schema != x.schema {
		x.schema = schema
		if err := x.out.printf("USE %s;\n", identifier(schema)); err != nil {
			return err
		}
	}
	return x.out.printf("%s;\n", strings.TrimSuffix(text, ";"))
}

func (x *export) rows(ctx context.Context, body *replication.RowsEvent) error {
	t, err := x.table(ctx, body.Table)
	if err != nil {
		return err
	}
	if err := x.start(); err != nil {
		return err
	}
	name := identifier(string(body.Table.Schema)) + "." + identifier(string(body.Table.Table))
	step := 1
	kind := body.Type()
	if kind == replication.EnumRowsEventTypeUpdate {
		step = 2
	}
	for n := 0; n+step <= len(body.Rows); n += step {
		x.summary.Rows++
		text := ""
		switch kind {
		case replication.EnumRowsEventTypeInsert:
			text = insert(name, t, image{body.Rows[n], skipped(body, n)})
		case replication.EnumRowsEventTypeUpdate:
			text = update(name, t, image{body.Rows[n], skipped(body, n)}, image{body.Rows[n+1], skipped(body, n+1)})
		case replication.EnumRowsEventTypeDelete:
			text = remove(name, t, image{body.Rows[n], skipped(body, n)})
		default:
			text = fmt.Sprintf("-- a change of %s of an unknown kind is left out\n", oneLine(name))
		}
		if err := x.out.printf("%s", text); err != nil {
			return err
		}
	}
	return nil
}

// skipped are the columns of which a row image has no value.
func skipped(body *replication.RowsEvent, n int) map[int]bool {
	out := map[int]bool{}
	if n < len(body.SkippedColumns) {
		for _, c := range body.SkippedColumns[n] {
			out[c] = true
		}
	}
	return out
}

// oneLine keeps text from ending a comment.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
}
