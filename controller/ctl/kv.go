package ctl

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
)

func kvCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use:   "kv [CLUSTER]",
		Short: "Show what every datacenter's Consul holds, whether that is right, and who writes it",
	}, readTimeout, func(s session) error {
		path := wire.PathKV
		if len(s.args) == 1 {
			cluster, err := s.name("cluster")
			if err != nil {
				return err
			}
			path += "?cluster=" + url.QueryEscape(cluster)
		}
		var kv wire.KV
		if err := s.get(path, &kv); err != nil {
			return err
		}
		return s.print(kv, func() string { return KV(kv) })
	})
}

// KV prints a table with the ledger's word on each cluster and, below it, every
// datacenter's; and below the table all that is wrong.
func KV(kv wire.KV) string {
	if len(kv.Entries) == 0 {
		return "no Consul is configured, or no cluster is known yet\n"
	}
	rows := [][]string{{"CLUSTER", "WHERE", "STATE", "MASTER", "EPOCH", "WRITTEN BY", "CONFIRMED", "REPAIRS"}}
	var problems []string
	for i, e := range kv.Entries {
		if i == 0 || kv.Entries[i-1].Cluster != e.Cluster {
			rows = append(rows, []string{clean(e.Cluster), "the ledger", "-", orElse(e.WantedMaster, "nobody"),
				epochText(e.WantedEpoch, e.WantedRevision), "-", "-", "-"})
		}
		var who, confirmed, repairs []string
		for _, w := range e.Writers {
			who = append(who, writerText(w))
			confirmed = append(confirmed, dash(moment(w.ConfirmedAt)))
			repairs = append(repairs, strconv.Itoa(w.Repairs))
		}
		rows = append(rows, []string{clean(e.Cluster), clean(e.DataCenter), clean(string(e.State)), dash(e.Master), epochText(e.Epoch, e.Revision),
			orElse(strings.Join(who, ", "), "nobody"), dash(strings.Join(confirmed, ", ")), dash(strings.Join(repairs, ", "))})
		problems = append(problems, kvProblems(e)...)
	}
	leader := ""
	if kv.Leader == "" {
		leader = "; no leader is known"
	}
	heading := fmt.Sprintf("as read by controller %s just now%s\n\n", clean(kv.Controller), leader)
	return heading + table(rows...) + section("problems:", problems)
}

func writerText(w wire.KVWriter) string {
	if w.AsLeader {
		return clean(w.Controller) + " (leader)"
	}
	return clean(w.Controller)
}

func orElse(text, none string) string {
	if text == "" {
		return none
	}
	return clean(text)
}

// epochText is an epoch with a revision of it, where there are.
func epochText(epoch routes.Epoch, revision uint64) string {
	if epoch.IsZero() {
		return "-"
	}
	return revisionText(epoch, revision)
}

// kvProblems are the sentences about one datacenter's keys.
func kvProblems(e wire.KVEntry) []string {
	at := e.Cluster + " in " + e.DataCenter + ": "
	var out []string
	switch e.State {
	case wire.KVRight, wire.KVKept:
	case wire.KVUnread:
		out = append(out, at+"it cannot be read: "+e.Error)
	case wire.KVMissing:
		out = append(out, at+"there are no keys; they are about to be written")
	case wire.KVBehind:
		out = append(out, at+"the keys are of an older epoch; they are about to be written")
	case wire.KVHigher:
		out = append(out, at+"the keys are of a higher epoch than the ledger's and are left alone: find out who wrote them")
	case wire.KVWrong:
		out = append(out, strings.TrimSuffix(at+"the keys were changed by somebody else; they are about to be put right: "+
			strings.Join(e.Faults, "; "), ": "))
	default:
		out = append(out, at+string(e.State))
	}
	for _, w := range e.Writers {
		if w.Error != "" {
			out = append(out, at+"says "+w.Controller+": "+w.Error)
		}
	}
	if len(e.Writers) == 0 {
		out = append(out, at+"no controller stands there and nobody leads: nobody writes it now")
	}
	return out
}
