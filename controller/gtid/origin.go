package gtid

import "slices"

// WithoutOrigin returns s without the transactions that one server wrote: on
// MySQL those under its UUID, on MariaDB those with its server id.
func (s Set) WithoutOrigin(serverUUID string, serverID uint32) Set {
	if s.flavor == MariaDB {
		return newMariaDB(s.own, slices.DeleteFunc(slices.Clone(s.entries), func(e entry) bool {
			return e.server == serverID
		}))
	}
	id, err := parseUUID(serverUUID)
	if err != nil {
		return s // nobody wrote under a name that is none
	}
	return newMySQL(slices.DeleteFunc(slices.Clone(s.streams), func(t stream) bool { return t.uuid == id }))
}
