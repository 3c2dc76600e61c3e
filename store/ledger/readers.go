package ledger

import (
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

func (d *draft) setReaders(c SetReaders) string {
	reason := firstOf(badCluster(c.Cluster), badName("by", c.By), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	cluster, ok := d.state.Clusters[c.Cluster]
	switch {
	case !ok:
		return fmt.Sprintf("cluster %s is unknown", c.Cluster)
	case cluster.Recovery != "":
		return fmt.Sprintf("recovery %s of cluster %s is open", cluster.Recovery, c.Cluster)
	case cluster.Epoch != c.ExpectEpoch:
		return fmt.Sprintf("cluster %s is at epoch %s, not %s", c.Cluster, cluster.Epoch, c.ExpectEpoch)
	}
	if len(c.Reasons) > maxItems {
		return fmt.Sprintf("reasons: there are %d, at most %d are allowed", len(c.Reasons), maxItems)
	}
	if reason := d.badReaders(cluster, c); reason != "" {
		return reason
	}
	same := slices.Equal(cluster.Readers, c.Readers)
	if same && cluster.ReaderFallback == c.Fallback {
		return ""
	}
	cluster.ReaderFallback = c.Fallback
	if !same {
		cluster.Readers = withoutReader(c.Readers, topology.Key{})
		cluster.WriterRevision = cluster.WriterSince()
		cluster.Revision++
		d.audit(AuditEntry{At: c.At, Kind: AuditRepair, Cluster: c.Cluster, Action: c.Kind(), By: c.By,
			Reason: namesOf(c.Readers), Evidence: c.Reasons})
	}
	d.putCluster(cluster)
	return ""
}

// namesOf says who the readers are.
func namesOf(readers []routes.Reader) string {
	if len(readers) == 0 {
		return "nobody serves readers"
	}
	var names []string
	for _, r := range readers {
		names = append(names, r.Server.String())
	}
	return "readers are served by " + strings.Join(names, ", ")
}

// badReaders says why c's readers cannot be those of the cluster.
func (d *draft) badReaders(cluster Cluster, c SetReaders) string {
	if err := routes.CheckReaders(c.Readers); err != nil {
		return err.Error()
	}
	for i, r := range c.Readers {
		at, k := fmt.Sprintf("readers[%d]", i), keyOf(r)
		if reason := firstOf(badKey(at, k), tooLong(at+".datacenter", r.Datacenter)); reason != "" {
			return reason
		}
		server, ok := d.state.Servers[k]
		switch {
		case !ok:
			return fmt.Sprintf("reader %s is unknown", k)
		case server.Cluster != cluster.Name:
			return fmt.Sprintf("reader %s belongs to cluster %s", k, server.Cluster)
		case server.Standing != Member:
			return fmt.Sprintf("reader %s is %s", k, server.Standing)
		case !server.DetachedFrom.IsZero():
			return fmt.Sprintf("reader %s is detached", k)
		case k != cluster.Master:
		case cluster.Withdrawn:
			return fmt.Sprintf("reader %s is the master, and withdrawn", k)
		case !c.Fallback || len(c.Readers) > 1:
			return fmt.Sprintf("reader %s is the master, which may be the only one where it is allowed, and is none beside others", k)
		}
	}
	return ""
}

func keyOf(r routes.Reader) topology.Key { return topology.Key{Host: r.Host, Port: r.Port} }

// withoutReader are the cluster's readers less one server; always in a new slice,
// and nil where none is left.
func withoutReader(readers []routes.Reader, k topology.Key) []routes.Reader {
	var out []routes.Reader
	for _, r := range readers {
		if keyOf(r) != k {
			out = append(out, r)
		}
	}
	return out
}

// withdrawn is the cluster while nobody is to be served as a writer, from the
// beginning of an epoch on: readers stay at the replicas, and neither the old
// master nor a winner that was given up is one.
func (c Cluster) withdrawn(epoch routes.Epoch, gone ...topology.Key) Cluster {
	c.Epoch, c.Revision, c.WriterRevision, c.Withdrawn = epoch, 1, 0, true
	for _, k := range gone {
		c.Readers = withoutReader(c.Readers, k)
	}
	return c
}

// announced is the cluster with a new master, who serves no readers, unless it is
// the only one that is left and may.
func (c Cluster) announced(master topology.Key) Cluster {
	c.Master, c.Withdrawn = master, false
	c.Revision++
	c.WriterRevision = 0
	c.Readers = withoutReader(c.Readers, master)
	if len(c.Readers) == 0 && c.ReaderFallback {
		c.Readers = []routes.Reader{{Server: routes.Server{Host: master.Host, Port: master.Port}, Weight: 1}}
	}
	return c
}
