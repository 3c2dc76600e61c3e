package binlog

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// image is a row before or after a change.
type image struct {
	values  []any
	skipped map[int]bool
}

// has reports whether the image tells the value of a column.
func (i image) has(n int) bool { return n < len(i.values) && !i.skipped[n] }

func insert(name string, t table, after image) string {
	var names, values []string
	for n, c := range t.columns {
		if after.has(n) && !c.computed {
			names, values = append(names, c.quoted()), append(values, literal(c, after.values[n]))
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s);\n", name, strings.Join(names, ", "), strings.Join(values, ", "))
}

func update(name string, t table, before, after image) string {
	var set []string
	for n, c := range t.columns {
		if !after.has(n) || c.computed || before.has(n) && reflect.DeepEqual(before.values[n], after.values[n]) {
			continue
		}
		set = append(set, c.quoted()+" = "+literal(c, after.values[n]))
	}
	if len(set) == 0 {
		return fmt.Sprintf("-- a row of %s was written again as it was\n", oneLine(name))
	}
	return fmt.Sprintf("%sUPDATE %s SET %s WHERE %s LIMIT 1;\n", was(t, before), name, strings.Join(set, ", "), where(t, before))
}

func remove(name string, t table, before image) string {
	return fmt.Sprintf("%sDELETE FROM %s WHERE %s LIMIT 1;\n", was(t, before), name, where(t, before))
}

// was says the whole row as it was, for who compares it with the cluster's.
func was(t table, before image) string {
	if !t.keyed {
		return "" // the condition says it
	}
	return "-- was: " + oneLine(strings.Join(conditions(t, before, false), " AND ")) + "\n"
}

// where finds the row: by its primary key, or else by all that can be compared.
func where(t table, before image) string {
	if found := conditions(t, before, t.keyed); len(found) > 0 {
		return strings.Join(found, " AND ")
	}
	return "FALSE /* the binary log does not say which row */"
}

func conditions(t table, before image, keyOnly bool) []string {
	var out []string
	for n, c := range t.columns {
		if !before.has(n) || keyOnly && !c.key || !keyOnly && slices.Contains([]string{"float", "double", "json"}, c.kind) {
			continue
		}
		out = append(out, c.quoted()+" <=> "+literal(c, before.values[n]))
	}
	return out
}

func (c column) quoted() string { return identifier(c.name) }

// literal writes a value as the reader of the binary log decoded it.
func literal(c column, value any) string {
	switch v := value.(type) {
	case nil:
		return "NULL"
	case []byte:
		return text(c, v)
	case string:
		if plain(c) {
			return text(c, []byte(v))
		}
		return "'" + v + "'" // dates, times and decimals
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if c.unsigned {
		return unsigned(c, value)
	}
	return fmt.Sprint(value)
}

// plain reports whether a value that came as a string is text or bytes; the
// others hold digits and separators only.
func plain(c column) bool {
	return !slices.Contains([]string{"date", "datetime", "timestamp", "time", "year", "decimal"}, c.kind)
}

// unsigned undoes what the binary log does not say: that a number has no sign.
func unsigned(c column, value any) string {
	switch v := value.(type) {
	case int8:
		return strconv.FormatUint(uint64(uint8(v)), 10)
	case int16:
		return strconv.FormatUint(uint64(uint16(v)), 10)
	case int32:
		if c.kind == "mediumint" {
			return strconv.FormatUint(uint64(uint32(v)&0xffffff), 10)
		}
		return strconv.FormatUint(uint64(uint32(v)), 10)
	case int64:
		return strconv.FormatUint(uint64(v), 10)
	}
	return fmt.Sprint(value)
}

// text quotes what is text, and writes everything else as bytes.
func text(c column, v []byte) string {
	binary := c.charset == "binary" || c.charset == "" && c.kind != "json"
	switch {
	case len(v) == 0:
		return "''"
	case !binary && readable(c, v):
		return quote(string(v))
	case !binary && c.charset != "" && !strings.HasPrefix(c.charset, "utf8"):
		return "_" + c.charset + " x'" + hex.EncodeToString(v) + "'"
	}
	return "x'" + hex.EncodeToString(v) + "'"
}

// readable reports whether v can stand in the file as it is.
func readable(c column, v []byte) bool {
	unicode := strings.HasPrefix(c.charset, "utf8") || c.charset == "ascii" || c.kind == "json"
	for _, b := range v {
		// A line break would end a comment, and other control characters a terminal's peace.
		if b < ' ' || b == 0x7f {
			return false
		}
		if !unicode && b >= 0x80 {
			return false
		}
	}
	return utf8.Valid(v) && !slices.Contains([]string{"utf16", "utf16le", "utf32", "ucs2"}, c.charset)
}

// quote writes text as a literal that means the same in every sql_mode; what a
// backslash means differs between them, so that text with one is written as bytes.
func quote(text string) string {
	if strings.Contains(text, `\`) {
		return "x'" + hex.EncodeToString([]byte(text)) + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
