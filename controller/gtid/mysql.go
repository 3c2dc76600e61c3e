package gtid

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

type uuid [16]byte

func (u uuid) String() string {
	b := make([]byte, 0, 36)
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b)
}

// origin names one numbering of transactions: a server, and a tag, empty for
// none.
type origin struct {
	uuid uuid
	tag  string
}

func (a origin) compare(b origin) int {
	return cmp.Or(bytes.Compare(a.uuid[:], b.uuid[:]), strings.Compare(a.tag, b.tag))
}

// interval has both its ends; 1 <= first <= last < 2^63.
type interval struct{ first, last uint64 }

// stream is the transactions of one origin. Its intervals are sorted, and
// neither overlap nor touch. They are never changed, so that sets share them.
type stream struct {
	origin
	intervals []interval
}

func newMySQL(streams []stream) Set {
	if len(streams) == 0 {
		return Set{}
	}
	return Set{flavor: MySQL, streams: streams}
}

// normalise sorts intervals in place and joins what overlaps or touches.
func normalise(in []interval) []interval {
	slices.SortFunc(in, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	out := in[:0]
	for _, iv := range in {
		out = appendInterval(out, iv)
	}
	return slices.Clip(out)
}

// appendInterval adds iv, which begins no earlier than the last of list.
func appendInterval(list []interval, iv interval) []interval {
	if n := len(list); n > 0 && iv.first <= list[n-1].last+1 {
		list[n-1].last = max(list[n-1].last, iv.last)
		return list
	}
	return append(list, iv)
}

func unionStreams(a, b []stream) []stream {
	out := make([]stream, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := a[0].compare(b[0].origin); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, stream{a[0].origin, unionIntervals(a[0].intervals, b[0].intervals)})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func unionIntervals(a, b []interval) []interval {
	out := make([]interval, 0, max(len(a), len(b)))
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].first <= b[0].first {
			out, a = appendInterval(out, a[0]), a[1:]
		} else {
			out, b = appendInterval(out, b[0]), b[1:]
		}
	}
	return out
}

func subtractStreams(a, b []stream) []stream {
	var out []stream
	for _, st := range a {
		for len(b) > 0 && b[0].compare(st.origin) < 0 {
			b = b[1:]
		}
		if len(b) > 0 && b[0].origin == st.origin {
			st.intervals = subtractIntervals(st.intervals, b[0].intervals)
		}
		if len(st.intervals) > 0 {
			out = append(out, st)
		}
	}
	return out
}

func subtractIntervals(a, b []interval) []interval {
	var out []interval
	for _, iv := range a {
		for len(b) > 0 && b[0].last < iv.first {
			b = b[1:]
		}
		rest := true
		for rest && len(b) > 0 && b[0].first <= iv.last {
			if b[0].first > iv.first {
				out = append(out, interval{iv.first, b[0].first - 1})
			}
			if b[0].last >= iv.last {
				rest = false // b[0] may reach into the next interval: keep it
			} else {
				iv.first = b[0].last + 1
				b = b[1:]
			}
		}
		if rest {
			out = append(out, iv)
		}
	}
	return out
}

func containsStreams(a, b []stream) bool {
	for _, st := range b {
		for len(a) > 0 && a[0].compare(st.origin) < 0 {
			a = a[1:]
		}
		if len(a) == 0 || a[0].origin != st.origin || !containsIntervals(a[0].intervals, st.intervals) {
			return false
		}
	}
	return true
}

func containsIntervals(a, b []interval) bool {
	for _, iv := range b {
		for len(a) > 0 && a[0].last < iv.first {
			a = a[1:]
		}
		if len(a) == 0 || iv.first < a[0].first || iv.last > a[0].last {
			return false
		}
	}
	return true
}

func equalStreams(a, b []stream) bool {
	return slices.EqualFunc(a, b, func(x, y stream) bool {
		return x.origin == y.origin && slices.Equal(x.intervals, y.intervals)
	})
}

// formatStreams prints a UUID once, then its tags, each followed by its
// intervals: uuid:1-3:tag:5-7.
func formatStreams(streams []stream) string {
	var b []byte
	for i, st := range streams {
		if i == 0 || streams[i-1].uuid != st.uuid {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, st.uuid.String()...)
		}
		if st.tag != "" {
			b = append(append(b, ':'), st.tag...)
		}
		for _, iv := range st.intervals {
			b = strconv.AppendUint(append(b, ':'), iv.first, 10)
			if iv.last > iv.first {
				b = strconv.AppendUint(append(b, '-'), iv.last, 10)
			}
		}
	}
	return string(b)
}
