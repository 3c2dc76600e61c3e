package ctl

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"switchyard/controller/topology"
)

// clean keeps what a server or a person wrote from moving the cursor, breaking
// a line or colouring the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(text))
}

// table lays rows out in columns, the first row being the heading. The last
// column is not padded.
func table(rows ...[]string) string {
	widths := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// pairs lays out names and values, leaving empty values away.
func pairs(cells ...string) string {
	var rows [][]string
	for i := 0; i+1 < len(cells); i += 2 {
		if cells[i+1] != "" {
			rows = append(rows, []string{cells[i], cells[i+1]})
		}
	}
	return table(rows...)
}

// section is a heading with lines under it, or nothing.
func section(heading string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("\n" + heading + "\n")
	for _, line := range lines {
		out.WriteString("  " + clean(line) + "\n")
	}
	return out.String()
}

// indent moves the lines of a table under its heading.
func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("  " + line)
	}
	return out.String()
}

func orNone(text, none string) string {
	if text == "" {
		return none + "\n"
	}
	return text
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return clean(text)
}

func keyText(k topology.Key) string {
	if k.IsZero() {
		return "-"
	}
	return clean(k.String())
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ms prints milliseconds so that whole ones stay short and small ones exact.
func ms(value float64) string {
	if value >= 10 || value == float64(int64(value)) {
		return fmt.Sprintf("%.0f ms", value)
	}
	return fmt.Sprintf("%.1f ms", value)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// seconds prints an age or a lag as DBAs read it.
func seconds(milliseconds int64) string {
	return fmt.Sprintf("%ds", (milliseconds+500)/1000)
}
