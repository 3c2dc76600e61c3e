package gtid

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// entry is the highest sequence number that one server wrote in one domain.
type entry struct {
	domain, server uint32
	seq            uint64
}

// compareSource orders entries by domain and server.
func compareSource(a, b entry) int {
	return cmp.Or(cmp.Compare(a.domain, b.domain), cmp.Compare(a.server, b.server))
}

func newMariaDB(own uint32, entries []entry) Set {
	if len(entries) == 0 {
		if own == 0 {
			return Set{}
		}
		entries = nil
	}
	return Set{flavor: MariaDB, own: own, entries: entries}
}

// ParseMariaDB reads GTID lists as MariaDB prints them in gtid_binlog_state,
// gtid_slave_pos or Gtid_IO_Pos (domain-server-sequence, separated by commas)
// and returns their union. Own is the server id of the server that they were
// read from; 0 is unknown.
func ParseMariaDB(own uint32, lists ...string) (Set, error) {
	size := 0
	for _, list := range lists {
		size += len(list)
	}
	if size > MaxText {
		return Set{}, fmt.Errorf("GTID list of %d bytes: want at most %d", size, MaxText)
	}
	var entries []entry
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			item = strings.Trim(item, blanks)
			if item == "" {
				continue
			}
			e, err := parseEntry(item)
			if err != nil {
				return Set{}, err
			}
			if e.seq > 0 { // 0 comes before the first transaction
				entries = append(entries, e)
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(compareSource(a, b), cmp.Compare(b.seq, a.seq))
	})
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return compareSource(a, b) == 0 })
	return newMariaDB(own, slices.Clip(entries)), nil
}

func parseEntry(item string) (entry, error) {
	domain, rest, _ := strings.Cut(item, "-")
	server, seq, found := strings.Cut(rest, "-")
	if !found {
		return entry{}, fmt.Errorf("GTID %q: want DOMAIN-SERVER-SEQUENCE", clip(item))
	}
	d, err := strconv.ParseUint(domain, 10, 32)
	if err != nil {
		return entry{}, fmt.Errorf("GTID %q: domain: want a number below 2^32", clip(item))
	}
	s, err := strconv.ParseUint(server, 10, 32)
	if err != nil {
		return entry{}, fmt.Errorf("GTID %q: server: want a number below 2^32", clip(item))
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return entry{}, fmt.Errorf("GTID %q: sequence: want a number below 2^64", clip(item))
	}
	return entry{uint32(d), uint32(s), n}, nil
}

func unionEntries(a, b []entry) []entry {
	out := make([]entry, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := compareSource(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			e := a[0]
			e.seq = max(e.seq, b[0].seq)
			out, a, b = append(out, e), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// lastEntries returns the entry with the highest sequence number of each
// domain. Of two with the same number, own's is the one that its server wrote
// last; otherwise the higher server id decides, so that the answer is stable.
func lastEntries(entries []entry, own uint32) []entry {
	var out []entry
	for _, e := range entries {
		n := len(out) - 1
		switch {
		case n < 0 || out[n].domain != e.domain:
			out = append(out, e)
		case e.seq > out[n].seq, e.seq == out[n].seq && out[n].server != own:
			out[n] = e
		}
	}
	return out
}

// missingEntries returns the entries of b, read from the server bOwn, that a
// does not have by the rule of Set.Contains.
func missingEntries(a, b []entry, bOwn uint32) []entry {
	lasts := lastEntries(a, 0)
	var out []entry
	for _, e := range b {
		for len(a) > 0 && compareSource(a[0], e) < 0 {
			a = a[1:]
		}
		for len(lasts) > 0 && lasts[0].domain < e.domain {
			lasts = lasts[1:]
		}
		if len(a) > 0 && compareSource(a[0], e) == 0 {
			if a[0].seq < e.seq {
				out = append(out, e)
			}
			continue
		}
		below := len(lasts) > 0 && lasts[0].domain == e.domain && e.seq < lasts[0].seq
		if history := below && bOwn != 0 && e.server != bOwn; !history {
			out = append(out, e)
		}
	}
	return out
}

func equalEntries(a, b []entry) bool { return slices.Equal(a, b) }

func formatEntries(entries []entry) string {
	var b []byte
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(e.domain), 10)
		b = strconv.AppendUint(append(b, '-'), uint64(e.server), 10)
		b = strconv.AppendUint(append(b, '-'), e.seq, 10)
	}
	return string(b)
}
