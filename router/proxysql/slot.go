// Package proxysql knows ProxySQL's words: the admin statements that make a
// proxy follow a routing table, what its tables say of it, and which of its
// settings stand in the way. It is pure; nothing here speaks to a proxy.
package proxysql

import (
	"fmt"
	"strings"

	"switchyard/router/routes"
)

// Slot is where a cluster's writer stands: a hostgroup of its own, and the
// attributes of the one row in it. All of that hostgroup is ours, and that of the
// readers where there is one; every other row belongs to somebody else.
type Slot struct {
	// Hostgroup is the writer's.
	Hostgroup int
	// Reader is the hostgroup of the cluster's readers, or NoReader. All of that is
	// ours, too.
	Reader         int
	Weight         int
	MaxConnections int
	UseSSL         bool
}

// NoReader stands for a cluster without a hostgroup of readers.
const NoReader = -1

// The attributes of a writer's row where the configuration gives none.
const (
	DefaultWeight         = 1
	DefaultMaxConnections = 1000
)

// The bounds that ProxySQL's own tables have.
const (
	maxHostgroup   = 1<<31 - 1
	maxWeight      = 10_000_000
	maxConnections = 1<<31 - 1
)

// comment marks our rows for whoever reads the table.
const comment = "switchyard"

// Validate names the first field that ProxySQL would not take.
func (s Slot) Validate() error {
	switch {
	case s.Hostgroup < 0 || s.Hostgroup > maxHostgroup:
		return fmt.Errorf("proxysql: writer_hostgroup is %d: want a number from 0 to %d", s.Hostgroup, maxHostgroup)
	case s.Reader != NoReader && (s.Reader < 0 || s.Reader > maxHostgroup):
		return fmt.Errorf("proxysql: reader_hostgroup is %d: want a number from 0 to %d", s.Reader, maxHostgroup)
	case s.Reader == s.Hostgroup:
		return fmt.Errorf("proxysql: reader_hostgroup is %d, the writer's: give the readers a hostgroup of their own", s.Reader)
	case s.Weight < 1 || s.Weight > maxWeight:
		return fmt.Errorf("proxysql: weight is %d: want a number from 1 to %d; 0 would take no traffic", s.Weight, maxWeight)
	case s.MaxConnections < 1 || s.MaxConnections > maxConnections:
		return fmt.Errorf("proxysql: max_connections is %d: want a number from 1 to %d", s.MaxConnections, maxConnections)
	}
	return nil
}

// Overlaps says which hostgroup two slots of one proxy would share.
func (s Slot) Overlaps(o Slot) (hostgroup int, shared bool) {
	for _, mine := range s.hostgroups() {
		for _, other := range o.hostgroups() {
			if mine == other {
				return mine, true
			}
		}
	}
	return 0, false
}

func (s Slot) hostgroups() []int {
	if s.Reader == NoReader {
		return []int{s.Hostgroup}
	}
	return []int{s.Hostgroup, s.Reader}
}

// within is the condition of the slot's rows.
func (s Slot) within() string {
	if s.Reader == NoReader {
		return fmt.Sprintf("= %d", s.Hostgroup)
	}
	return fmt.Sprintf("IN (%d, %d)", s.Hostgroup, s.Reader)
}

// row is the one that the slot has while the server is its writer.
func (s Slot) row(server routes.Server) Row {
	row := Row{
		Server: Server{Hostgroup: s.Hostgroup, Host: server.Host, Port: server.Port}, Status: Online,
		Weight: s.Weight, MaxConnections: s.MaxConnections, Comment: comment,
	}
	if s.UseSSL {
		row.UseSSL = 1
	}
	return row
}

// maxHost is the longest name that DNS knows.
const maxHost = 253

// checkTable refuses what must not become a row. A host is held to the letters
// of names and addresses, so that none can carry a second statement.
func checkTable(table routes.Table) error {
	if err := table.Validate(); err != nil {
		return fmt.Errorf("proxysql: %w", err)
	}
	if table.Writer == nil {
		return nil
	}
	return checkHost("writer.host", table.Writer.Host)
}

func checkHost(field, host string) error {
	if len(host) > maxHost {
		return fmt.Errorf("proxysql: %s is longer than any name of a host", field)
	}
	for _, r := range host {
		if !isHostRune(r) {
			return fmt.Errorf("proxysql: %s %q: %q is not allowed; want a name or an address", field, host, r)
		}
	}
	return nil
}

func isHostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.:-", r)
}
