package ledger

import (
	"fmt"

	"switchyard/router/routes"
)

func (d *draft) confirm(c Confirm) string {
	n := c.Confirmation
	switch n.Receiver {
	case Proxy, Consul:
	default:
		return fmt.Sprintf("receiver %q: want proxy or consul", string(n.Receiver))
	}
	if reason := firstOf(badName("name", n.Name), badCluster(n.Cluster), badTime("at", n.At)); reason != "" {
		return reason
	}
	cluster, ok := d.state.Clusters[n.Cluster]
	if !ok {
		return fmt.Sprintf("cluster %s is unknown", n.Cluster)
	}
	table := tableOf(n)
	if table.Epoch.IsZero() {
		return "epoch is zero"
	}
	if table.Newer(cluster.Routes()) {
		return fmt.Sprintf("%s %s holds %s of cluster %s, which is ahead of the ledger's %s",
			n.Receiver, n.Name, place(table), n.Cluster, place(cluster.Routes()))
	}
	key := ConfirmationKey{Receiver: n.Receiver, Name: n.Name, Cluster: n.Cluster}
	if known, ok := d.state.Confirmations[key]; ok {
		if recorded := tableOf(known); recorded.Newer(table) {
			return fmt.Sprintf("%s %s has confirmed %s of cluster %s already, which is newer than %s",
				n.Receiver, n.Name, place(recorded), n.Cluster, place(table))
		} else if !table.Newer(recorded) {
			return ""
		}
	}
	n.At = instant(n.At)
	d.putConfirmation(key, n)
	return ""
}

// tableOf is what a confirmation is compared by.
func tableOf(c Confirmation) routes.Table {
	return routes.Table{Cluster: c.Cluster, Epoch: c.Epoch, Revision: c.Revision}
}

func place(t routes.Table) string { return fmt.Sprintf("epoch %s revision %d", t.Epoch, t.Revision) }
