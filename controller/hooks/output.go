package hooks

import (
	"strings"
)

// maxOutput is how much of a command's output is kept.
const (
	maxOutput = 8 << 10
	cutMark   = "\n[...]\n"
)

// output keeps the beginning and the end of what is written: the first says what
// was tried, the last how it went.
type output struct {
	head, tail []byte
	// cut is true once something between them was dropped.
	cut bool
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	room := min(maxOutput/2-len(o.head), len(p))
	o.head, p = append(o.head, p[:room]...), p[room:]
	o.tail = append(o.tail, p...)
	if most := maxOutput - maxOutput/2 - len(cutMark); len(o.tail) > most {
		o.tail, o.cut = append([]byte(nil), o.tail[len(o.tail)-most:]...), true
	}
	return n, nil
}

// String is what was kept, as text that JSON can hold.
func (o *output) String() string {
	text := string(o.head)
	if o.cut {
		text += cutMark
	}
	text = strings.ToValidUTF8(text+string(o.tail), "?")
	return strings.TrimRight(text, "\n")
}
