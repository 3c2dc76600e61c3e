package ledger

import (
	"fmt"
	"time"
	"unicode/utf8"

	"switchyard/controller/topology"
)

// The bounds of what a command may carry. They keep one misbehaving proposer
// from filling every controller's disk.
const (
	maxName    = 255
	maxText    = 2000
	maxExtra   = 1 << 20
	maxItems   = 1000
	maxSteps   = 500
	maxHistory = 200
	// maxAudit is how many audit entries are kept, and maxProof how many bytes of
	// evidence each may hold.
	maxAudit = 10_000
	maxProof = 16 << 10
)

// firstOf returns the first reason that is not empty.
func firstOf(reasons ...string) string {
	for _, r := range reasons {
		if r != "" {
			return r
		}
	}
	return ""
}

func badCluster(name string) string {
	if name == "" {
		return "cluster is empty"
	}
	if len(name) > 64 {
		return fmt.Sprintf("cluster: the name has %d bytes, at most 64 are allowed", len(name))
	}
	for _, b := range []byte(name) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return fmt.Sprintf("cluster %q: only letters, digits, '.', '_' and '-' are allowed", name)
		}
	}
	return ""
}

func badName(field, name string) string {
	switch {
	case name == "":
		return field + " is empty"
	case len(name) > maxName:
		return fmt.Sprintf("%s has %d bytes, at most %d are allowed", field, len(name), maxName)
	}
	return ""
}

// badText is for what an operator has to say.
func badText(field, text string) string {
	if text == "" {
		return field + " is empty"
	}
	return tooLong(field, text)
}

// tooLong is badText where there may be nothing to say.
func tooLong(field, text string) string {
	if len(text) > maxText {
		return fmt.Sprintf("%s has %d bytes, at most %d are allowed", field, len(text), maxText)
	}
	return ""
}

// badUntil refuses an end that is not after at.
func badUntil(until, at time.Time) string {
	if reason := badTime("until", until); reason != "" {
		return reason
	}
	if !until.After(at) {
		return fmt.Sprintf("until: %s is not after %s", until.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return ""
}

func badKeys(field string, keys []topology.Key) string {
	if len(keys) > maxItems {
		return fmt.Sprintf("%s: there are %d servers, at most %d are allowed", field, len(keys), maxItems)
	}
	for i, k := range keys {
		if reason := badKey(fmt.Sprintf("%s[%d]", field, i), k); reason != "" {
			return reason
		}
	}
	return ""
}

// badKey also refuses a key that would not survive being written and read.
func badKey(field string, k topology.Key) string {
	if k.IsZero() {
		return field + " is empty"
	}
	if again, err := topology.ParseKey(k.String()); err != nil || again != k || len(k.Host) > maxName {
		return fmt.Sprintf("%s %q is no HOST:PORT", field, k.String())
	}
	return ""
}

func badTime(field string, t time.Time) string {
	if t.IsZero() {
		return field + " is the zero time"
	}
	// Outside these years a time cannot be written as RFC 3339.
	if y := t.UTC().Year(); y < 1 || y > 9998 {
		return fmt.Sprintf("%s is in the year %d", field, y)
	}
	return ""
}

// cut shortens text to at most limit bytes, at a rune's boundary.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// cutAll cuts every line, into a slice of its own.
func cutAll(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = cut(line, maxText)
	}
	return out
}
