package routes

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reader is one replica that readers may be sent to.
type Reader struct {
	Server
	Datacenter string `json:"datacenter,omitempty"`
	// Weight is its share of the connections among those that a proxy sends
	// readers to; from 1 to MaxWeight.
	Weight int `json:"weight"`
}

// MaxWeight is the highest weight that every kind of proxy takes, and MaxReaders
// how many readers a table may have.
const (
	MaxWeight  = 256
	MaxReaders = 64
)

// CompareServers orders by host, then by port.
func CompareServers(a, b Server) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}

// CheckReaders names the first field of readers that no receiver should accept.
func CheckReaders(readers []Reader) error {
	if len(readers) > MaxReaders {
		return fmt.Errorf("readers: there are %d, at most %d are allowed", len(readers), MaxReaders)
	}
	for i, r := range readers {
		var err error
		switch {
		case r.Host == "":
			err = errors.New("host is empty")
		case r.Port == 0:
			err = errors.New("port is 0")
		case r.Weight < 1 || r.Weight > MaxWeight:
			err = fmt.Errorf("weight is %d: want a number from 1 to %d", r.Weight, MaxWeight)
		case i > 0 && CompareServers(readers[i-1].Server, r.Server) >= 0:
			err = fmt.Errorf("%s is not behind %s: want each once, in order of host and port", r.Server, readers[i-1].Server)
		}
		if err != nil {
			return fmt.Errorf("readers[%d]: %w", i, err)
		}
	}
	return nil
}

// ReadersFor are the readers that a proxy in a datacenter sends connections to:
// those of its own where there are any, and else all.
func (t Table) ReadersFor(datacenter string) []Reader {
	own := slices.DeleteFunc(slices.Clone(t.Readers), func(r Reader) bool { return r.Datacenter != datacenter })
	if datacenter == "" || len(own) == 0 {
		return slices.Clone(t.Readers)
	}
	return own
}

// ReadersProof is what a proxy was read back to do with its readers. Whatever it
// says, the writer's part of a Proof stands for itself.
type ReadersProof struct {
	// Serving are, in order, where it sends new connections, as HOST:PORT.
	Serving []string `json:"serving,omitempty"`
	// Sessions counts the connections of clients to readers, and Left those among
	// them that lead to none of the table's readers.
	Sessions int `json:"sessions"`
	Left     int `json:"left,omitempty"`
	// Holds is true when all of this is what the table in question says.
	Holds bool `json:"holds"`
	// Problem is why it is not, in a sentence.
	Problem string `json:"problem,omitempty"`
}

// String says it in a few words.
func (p ReadersProof) String() string {
	where := "nobody"
	if len(p.Serving) > 0 {
		where = strings.Join(p.Serving, ", ")
	}
	text := fmt.Sprintf("reading from %s with %d sessions", where, p.Sessions)
	if p.Left > 0 {
		text += fmt.Sprintf(", of which %d are elsewhere", p.Left)
	}
	return text
}
