package binlog

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"

	"switchyard/integrations/mysql/dialect"
)

// table is what the server says of a table now. The binary log itself has
// neither names nor signs of columns, unless the server was told to log them.
type table struct {
	columns []column
	keyed   bool // it has a primary key
}

type column struct {
	name     string
	kind     string // DATA_TYPE
	charset  string // empty where it has none
	unsigned bool
	key      bool // part of the primary key
	computed bool // generated: it takes no value
}

// table reads a table's columns once. Where they cannot be had (the table was
// dropped or changed since, or the account may not see it) what the binary log
// says is taken.
func (x *export) table(ctx context.Context, m *replication.TableMapEvent) (table, error) {
	name := fmt.Sprintf("%s.%s/%d", m.Schema, m.Table, m.ColumnCount)
	if t, known := x.tables[name]; known {
		return t, nil
	}
	schema, err := dialect.Quote("schema", string(m.Schema))
	if err != nil {
		return table{}, err
	}
	relation, err := dialect.Quote("table", string(m.Table))
	if err != nil {
		return table{}, err
	}
	sets, err := x.conn.Query(ctx, fmt.Sprintf("SELECT COLUMN_NAME AS name, DATA_TYPE AS kind, COLUMN_TYPE AS type, "+
		"COLUMN_KEY AS part, CHARACTER_SET_NAME AS charset, EXTRA AS extra FROM information_schema.COLUMNS "+
		"WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
		schema, relation))
	if err != nil {
		return table{}, fmt.Errorf("the columns of %s.%s: %w", m.Schema, m.Table, err)
	}
	var t table
	if len(sets) == 1 && uint64(len(sets[0])) == m.ColumnCount {
		for _, row := range sets[0] {
			extra := strings.ToUpper(row["extra"])
			c := column{
				name: row["name"], kind: strings.ToLower(row["kind"]), charset: row["charset"],
				unsigned: strings.Contains(strings.ToLower(row["type"]), "unsigned"), key: row["part"] == "PRI",
				computed: strings.Contains(extra, "GENERATED") && !strings.Contains(extra, "DEFAULT_GENERATED"),
			}
			t.keyed = t.keyed || c.key
			t.columns = append(t.columns, c)
		}
	} else {
		t.columns = fromLog(m)
		if len(m.ColumnName) == 0 {
			if err := x.out.printf("-- the columns of %s.%s cannot be read from the server now (does the account have REFERENCES?): "+
				"they are numbered\n", oneLine(string(m.Schema)), oneLine(string(m.Table))); err != nil {
				return table{}, err
			}
		}
	}
	x.tables[name] = t
	return t, nil
}

// fromLog is what the binary log itself says of a table's columns; those
// without a name are called @1, @2 and so on.
func fromLog(m *replication.TableMapEvent) []column {
	columns := make([]column, m.ColumnCount)
	names, unsigned := m.ColumnNameString(), m.UnsignedMap()
	for n := range columns {
		columns[n] = column{name: fmt.Sprintf("@%d", n+1), unsigned: unsigned[n]}
		if n < len(names) {
			columns[n].name = names[n]
		}
	}
	return columns
}
