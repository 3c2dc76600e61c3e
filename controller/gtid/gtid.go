// Package gtid is the algebra of global transaction identifiers: Oracle
// MySQL's sets of intervals (with tags) and MariaDB's positions per domain and
// server. It is pure.
package gtid

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxText is the longest text, in bytes, that the parsers accept.
const MaxText = 16 << 20

// Flavor is the family of servers that a set comes from.
type Flavor uint8

// The flavors. Unknown is the flavor of the zero Set.
const (
	Unknown Flavor = iota
	MySQL
	MariaDB
)

// String returns "unknown", "mysql" or "mariadb".
func (f Flavor) String() string {
	switch f {
	case MySQL:
		return "mysql"
	case MariaDB:
		return "mariadb"
	default:
		return "unknown"
	}
}

// MarshalText writes what String returns.
func (f Flavor) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText writes; an empty text is Unknown.
func (f *Flavor) UnmarshalText(text []byte) error {
	switch string(text) {
	case "", "unknown":
		*f = Unknown
	case "mysql":
		*f = MySQL
	case "mariadb":
		*f = MariaDB
	default:
		return fmt.Errorf("flavor %q: want unknown, mysql or mariadb", clip(string(text)))
	}
	return nil
}

// Set is an immutable set of transactions. The zero value is the empty set; it
// is contained in every set and its flavor is Unknown. An empty set without
// anything to remember is always the zero value.
type Set struct {
	flavor  Flavor
	own     uint32   // MariaDB: the server id of the server that was read
	streams []stream // MySQL: sorted by UUID and tag, none empty
	entries []entry  // MariaDB: sorted by domain and server, none twice
}

// Flavor returns the family of servers that s comes from. It is Unknown for
// an empty set of MySQL's, and for the zero value.
func (s Set) Flavor() Flavor { return s.flavor }

// Own returns the id of the MariaDB server that s was read from; 0 is unknown.
func (s Set) Own() uint32 { return s.own }

// IsEmpty reports whether s has no transaction.
func (s Set) IsEmpty() bool { return len(s.streams) == 0 && len(s.entries) == 0 }

// String returns s in the form that its server prints and reads, in one line
// and in canonical order. On MariaDB it lists every domain and server.
func (s Set) String() string {
	if s.flavor == MariaDB {
		return formatEntries(s.entries)
	}
	return formatStreams(s.streams)
}

// Position returns what a replica that holds s has to ask its source for: on
// MariaDB the last GTID of each domain, as gtid_slave_pos and MASTER_GTID_WAIT
// take it; on MySQL the same as String.
func (s Set) Position() string {
	if s.flavor == MariaDB {
		return formatEntries(lastEntries(s.entries, s.own))
	}
	return s.String()
}

// Count returns the number of transactions on MySQL (at most the largest
// uint64), and the number of (domain, server) entries on MariaDB, which does
// not keep the former.
func (s Set) Count() uint64 {
	if s.flavor == MariaDB {
		return uint64(len(s.entries))
	}
	var n uint64
	for _, st := range s.streams {
		for _, iv := range st.intervals {
			size := iv.last - iv.first + 1
			if n > math.MaxUint64-size {
				return math.MaxUint64
			}
			n += size
		}
	}
	return n
}

// Union returns what is in s or in o. On MariaDB the result remembers the
// server id of s, or that of o where s has none. Sets of different flavors have
// no union: the result is s, or o if s is empty.
func (s Set) Union(o Set) Set {
	switch {
	case s.flavor == MariaDB && o.flavor == MariaDB:
		own := s.own
		if own == 0 {
			own = o.own
		}
		return newMariaDB(own, unionEntries(s.entries, o.entries))
	case s.flavor == MySQL && o.flavor == MySQL:
		return newMySQL(unionStreams(s.streams, o.streams))
	case !s.IsEmpty():
		return s
	case !o.IsEmpty() || s.flavor == Unknown:
		return o
	default:
		return s
	}
}

// Contains reports whether s has everything that o has.
//
// On MariaDB s has an entry (domain, server, sequence) of o if its own entry of
// that domain and server is at least as high: the sequence number alone does
// not tell, since 0-1-306 and 0-2-306 are the ends of two histories. A server
// that was cloned starts its binary log's state at the clone and has no entry
// for servers that wrote only before; so an entry of which s knows nothing
// counts as history if it is below the last sequence number that s has in the
// domain, and was not written by the server that o was read from. Where that
// server is unknown, nothing counts as history.
//
// Sets of different flavors contain each other only when empty.
func (s Set) Contains(o Set) bool {
	switch {
	case o.IsEmpty():
		return true
	case s.flavor != o.flavor:
		return false
	case s.flavor == MariaDB:
		return len(missingEntries(s.entries, o.entries, o.own)) == 0
	default:
		return containsStreams(s.streams, o.streams)
	}
}

// Subtract returns what s has and o lacks, by the rule of Contains: it is
// empty exactly when o contains s.
func (s Set) Subtract(o Set) Set {
	switch {
	case s.flavor != o.flavor || s.IsEmpty() || o.IsEmpty():
		return s
	case s.flavor == MariaDB:
		return newMariaDB(s.own, missingEntries(o.entries, s.entries, s.own))
	default:
		return newMySQL(subtractStreams(s.streams, o.streams))
	}
}

// Equal reports whether s and o list the same transactions, whichever server
// they were read from.
func (s Set) Equal(o Set) bool {
	if s.IsEmpty() || o.IsEmpty() {
		return s.IsEmpty() && o.IsEmpty()
	}
	return s.flavor == o.flavor && equalStreams(s.streams, o.streams) && equalEntries(s.entries, o.entries)
}

// MarshalText writes "mysql:SET", "mariadb:OWN:LIST", or nothing for the zero
// value.
func (s Set) MarshalText() ([]byte, error) {
	switch s.flavor {
	case MySQL:
		return []byte("mysql:" + s.String()), nil
	case MariaDB:
		return []byte("mariadb:" + strconv.FormatUint(uint64(s.own), 10) + ":" + s.String()), nil
	default:
		return nil, nil
	}
}

// UnmarshalText reads what MarshalText writes.
func (s *Set) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Set{}
		return nil
	}
	flavor, rest, _ := strings.Cut(string(text), ":")
	var set Set
	var err error
	switch flavor {
	case "mysql":
		set, err = ParseMySQL(rest)
	case "mariadb":
		id, list, found := strings.Cut(rest, ":")
		own, bad := strconv.ParseUint(id, 10, 32)
		if !found || bad != nil {
			return fmt.Errorf("GTID set %q: want mariadb:SERVER_ID:LIST", clip(string(text)))
		}
		set, err = ParseMariaDB(uint32(own), list)
	default:
		return fmt.Errorf("GTID set %q: want mysql:SET or mariadb:SERVER_ID:LIST", clip(string(text)))
	}
	if err != nil {
		return err
	}
	*s = set
	return nil
}

// Relation is how one set stands to another.
type Relation uint8

// The relations of a set to another.
const (
	// RelationEqual: each contains the other.
	RelationEqual Relation = iota
	// RelationAhead: the first contains the second, and more.
	RelationAhead
	// RelationBehind: the second contains the first, and more.
	RelationBehind
	// RelationDiverged: neither contains the other.
	RelationDiverged
)

// String returns "equal", "ahead", "behind" or "diverged".
func (r Relation) String() string {
	switch r {
	case RelationEqual:
		return "equal"
	case RelationAhead:
		return "ahead"
	case RelationBehind:
		return "behind"
	default:
		return "diverged"
	}
}

// Compare says how a stands to b.
func Compare(a, b Set) Relation {
	ab, ba := a.Contains(b), b.Contains(a)
	switch {
	case ab && ba:
		return RelationEqual
	case ab:
		return RelationAhead
	case ba:
		return RelationBehind
	default:
		return RelationDiverged
	}
}

// clip keeps an error readable whatever was read.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
