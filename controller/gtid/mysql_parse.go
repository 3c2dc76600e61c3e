package gtid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	blanks = " \t\r\n\v\f"
	maxTag = 32
)

// ParseMySQL reads a GTID set as MySQL prints it: UUID:1-5:7,UUID:tag:1-3. A
// tag holds for the intervals that follow it, up to the next tag. Blanks,
// newlines and empty items are skipped, capitals are lowered, and intervals may
// come in any order and overlap.
func ParseMySQL(text string) (Set, error) {
	if len(text) > MaxText {
		return Set{}, fmt.Errorf("GTID set of %d bytes: want at most %d", len(text), MaxText)
	}
	found := make(map[origin][]interval)
	for item := range strings.SplitSeq(text, ",") {
		item = strings.Trim(item, blanks)
		if item == "" {
			continue
		}
		if err := parseItem(item, found); err != nil {
			return Set{}, fmt.Errorf("GTID set: %q: %w", clip(item), err)
		}
	}
	streams := make([]stream, 0, len(found))
	for at, intervals := range found {
		streams = append(streams, stream{at, normalise(intervals)})
	}
	slices.SortFunc(streams, func(a, b stream) int { return a.compare(b.origin) })
	return newMySQL(streams), nil
}

// parseItem adds the intervals of one UUID to found.
func parseItem(item string, found map[origin][]interval) error {
	id, rest, more := strings.Cut(item, ":")
	u, err := parseUUID(strings.Trim(id, blanks))
	if err != nil {
		return err
	}
	at := origin{uuid: u}
	bare := true // nothing follows the UUID or the last tag yet
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ":")
		part = strings.Trim(part, blanks)
		if isTag(part) {
			if bare && at.tag != "" {
				break
			}
			at.tag, bare = strings.ToLower(part), true
			continue
		}
		iv, err := parseInterval(part)
		if err != nil {
			return err
		}
		found[at] = append(found[at], iv)
		bare = false
	}
	switch {
	case bare && at.tag != "":
		return fmt.Errorf("tag %s has no interval: want UUID:TAG:FIRST-LAST", at.tag)
	case bare:
		return errors.New("no interval: want UUID:FIRST-LAST")
	}
	return nil
}

func parseUUID(text string) (uuid, error) {
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		var u uuid
		digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
		if _, err := hex.Decode(u[:], []byte(digits)); err == nil {
			return u, nil
		}
	}
	return uuid{}, fmt.Errorf("uuid %q: want 8-4-4-4-12 hexadecimal digits", clip(text))
}

// isTag reports whether text is a tag by the server's rule: a letter or
// underscore, then up to 31 of these and digits.
func isTag(text string) bool {
	if text == "" || len(text) > maxTag {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return true
}

func parseInterval(text string) (interval, error) {
	from, to, ranged := strings.Cut(text, "-")
	first, err := parseNumber(text, from)
	if err != nil {
		return interval{}, err
	}
	if !ranged {
		return interval{first, first}, nil
	}
	last, err := parseNumber(text, to)
	if err != nil {
		return interval{}, err
	}
	if last < first {
		return interval{}, fmt.Errorf("interval %q: ends before it starts", clip(text))
	}
	return interval{first, last}, nil
}

func parseNumber(whole, text string) (uint64, error) {
	n, err := strconv.ParseUint(strings.Trim(text, blanks), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || n > math.MaxInt64:
		return 0, fmt.Errorf("interval %q: numbers end below 2^63", clip(whole))
	case err != nil:
		return 0, fmt.Errorf("interval %q: want FIRST-LAST, or one number", clip(whole))
	case n == 0:
		return 0, fmt.Errorf("interval %q: numbers start at 1", clip(whole))
	}
	return n, nil
}
