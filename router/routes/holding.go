package routes

import (
	"fmt"
	"strings"
)

// Holding is what a directory holds of a cluster's record, as far as it can be
// read.
type Holding struct {
	Record
	// Faults are what no writer of records leaves behind, a phrase each: keys that
	// are missing, cannot be read, or belie each other.
	Faults []string
}

// Empty reports whether there is nothing at all.
func (h Holding) Empty() bool {
	return h.Record == Record{Cluster: h.Cluster} && len(h.Faults) == 0
}

// String says it to people.
func (h Holding) String() string {
	if h.Empty() {
		return "nothing"
	}
	text := fmt.Sprintf("%s of epoch %s", h.Master, h.Epoch)
	if h.Epoch.IsZero() {
		text = fmt.Sprintf("%s of no epoch", h.Master)
	}
	if h.IPv4 != "" || h.IPv6 != "" {
		text += " at " + strings.TrimSpace(h.IPv4+" "+h.IPv6)
	}
	if len(h.Faults) > 0 {
		text += " (" + strings.Join(h.Faults, "; ") + ")"
	}
	return text
}
