package binlog

import (
	"strings"
	"testing"
)

func TestLiterals(t *testing.T) {
	utf8, latin, bytes := column{charset: "utf8mb4", kind: "varchar"}, column{charset: "latin1", kind: "varchar"}, column{kind: "blob"}
	for _, c := range []struct {
		column column
		value  any
		want   string
	}{
		{utf8, nil, "NULL"},
		{utf8, "it's", "'it''s'"},
		{utf8, `a\b`, "x'615c62'"},
		{utf8, "one\ntwo", "x'6f6e650a74776f'"},
		{utf8, "\xff", "x'ff'"},
		{utf8, "", "''"},
		{latin, "plain", "'plain'"},
		{latin, "caf\xe9", "_latin1 x'636166e9'"},
		{bytes, []byte("abc"), "x'616263'"},
		{column{kind: "json"}, []byte(`{"a":1}`), `'{"a":1}'`},
		{column{kind: "decimal"}, "-1.50", "'-1.50'"},
		{column{kind: "tinyint", unsigned: true}, int8(-1), "255"},
		{column{kind: "smallint", unsigned: true}, int16(-1), "65535"},
		{column{kind: "mediumint", unsigned: true}, int32(-1), "16777215"},
		{column{kind: "int", unsigned: true}, int32(-1), "4294967295"},
		{column{kind: "bigint", unsigned: true}, int64(-1), "18446744073709551615"},
		{column{kind: "bigint"}, int64(-1), "-1"},
		{column{kind: "double"}, 1.5e-7, "1.5e-07"},
	} {
		if got := literal(c.column, c.value); got != c.want {
			t.Errorf("%+v %v: %s, want %s", c.column, c.value, got, c.want)
		}
	}
}

// A row is found by its key where there is one, and never by a guess.
func TestWhichRow(t *testing.T) {
	keyed := table{keyed: true, columns: []column{{name: "id", kind: "int", key: true}, {name: "v", kind: "int"}}}
	loose := table{columns: []column{{name: "a`b", kind: "int"}, {name: "f", kind: "float"}}}
	if got := remove("t", keyed, image{values: []any{int32(1), nil}}); !strings.Contains(got, "-- was: `id` <=> 1 AND `v` <=> NULL\n") ||
		!strings.HasSuffix(got, "DELETE FROM t WHERE `id` <=> 1 LIMIT 1;\n") {
		t.Error(got)
	}
	if got := remove("t", loose, image{values: []any{int32(1), float32(2)}}); got != "DELETE FROM t WHERE `a``b` <=> 1 LIMIT 1;\n" {
		t.Error(got)
	}
	if got := remove("t", loose, image{values: []any{nil, nil}, skipped: map[int]bool{0: true}}); !strings.Contains(got, "WHERE FALSE") {
		t.Error(got)
	}
}

// What a server calls its tables cannot end a comment in the file.
func TestCommentsStayComments(t *testing.T) {
	if got := oneLine("a\nDROP TABLE b\u2028;"); strings.ContainsAny(got, "\n\r\u2028") {
		t.Errorf("%q", got)
	}
}
