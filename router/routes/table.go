package routes

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Server is one database server as proxies and consumers of the master's
// identity know it.
type Server struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// String returns "host:port" (an IPv6 host in brackets).
func (s Server) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// Table says where the traffic of one cluster goes. Receivers order tables by
// (Epoch, Revision) and refuse what is older. A nil Writer is the withdrawn
// state: nobody is served.
type Table struct {
	Cluster  string  `json:"cluster"`
	Epoch    Epoch   `json:"epoch"`
	Revision uint64  `json:"revision"`
	Writer   *Server `json:"writer,omitempty"`
	// Planned is set of a withdrawn table whose old writer lives and is to be
	// followed by another: a receiver may let what is under way there end, within a
	// bound of its own, before it cuts the rest.
	Planned bool `json:"planned,omitempty"`
	// Readers are the replicas that readers may be sent to, in order of host and
	// port. A receiver that cannot follow them follows the writer all the same.
	Readers []Reader `json:"readers,omitempty"`
}

// Newer reports whether t supersedes o: a later epoch, or a later revision of
// the same one.
func (t Table) Newer(o Table) bool {
	if c := t.Epoch.Compare(o.Epoch); c != 0 {
		return c > 0
	}
	return t.Revision > o.Revision
}

// Validate names the first field that no receiver should accept.
func (t Table) Validate() error {
	switch {
	case t.Cluster == "":
		return errors.New("table: cluster is empty")
	case t.Epoch.IsZero():
		return fmt.Errorf("table of %s: epoch was never issued", t.Cluster)
	case t.Writer != nil && t.Writer.Host == "":
		return fmt.Errorf("table of %s: writer.host is empty", t.Cluster)
	case t.Writer != nil && t.Writer.Port == 0:
		return fmt.Errorf("table of %s: writer.port is 0", t.Cluster)
	}
	if err := CheckReaders(t.Readers); err != nil {
		return fmt.Errorf("table of %s: %w", t.Cluster, err)
	}
	return nil
}
