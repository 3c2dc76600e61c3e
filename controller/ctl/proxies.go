package ctl

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
)

func proxiesCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use:   "proxies [CLUSTER]",
		Short: "Show the proxies of a cluster, or all: what each does, since when, and who does not follow",
	}, readTimeout, func(s session) error {
		path := wire.PathProxies
		if len(s.args) == 1 {
			cluster, err := s.name("cluster")
			if err != nil {
				return err
			}
			path += "?cluster=" + url.QueryEscape(cluster)
		}
		var p wire.Proxies
		if err := s.get(path, &p); err != nil {
			return err
		}
		return s.print(p, func() string { return Proxies(p) })
	})
}

// Proxies prints a table of proxies, and below it all that is wrong with them.
func Proxies(p wire.Proxies) string {
	if len(p.Proxies) == 0 {
		return "no proxy is configured\n"
	}
	rows := [][]string{{"PROXY", "CLUSTER", "WAY", "STATE", "SINCE", "CONFIRMED", "SESSIONS", "RETRIES", "NEXT LOOK", "REPAIRS"}}
	var problems, warnings, reports []string
	for _, one := range p.Proxies {
		rows = append(rows, []string{
			clean(one.Name) + " (" + clean(one.Kind) + ")", clean(one.Cluster), dash(one.Way), proxyState(one), dash(moment(one.Since)),
			confirmedText(one), strconv.Itoa(one.Sessions), strconv.Itoa(one.Retries), dash(moment(one.NextLook)), strconv.Itoa(one.Repairs),
		})
		if one.Problem != "" {
			problems = append(problems, one.Name+": "+one.Problem)
		}
		if r := one.Readers; r != nil && !r.Holds {
			problems = append(problems, fmt.Sprintf("%s: its readers: %s; %s", one.Name, r, r.Problem))
		}
		if one.Warning != "" {
			warnings = append(warnings, one.Name+": "+one.Warning)
		}
		if one.Report != nil {
			reports = append(reports, reportText(one))
		}
	}
	heading := ""
	if !p.Looks {
		heading = fmt.Sprintf("controller %s does not lead, and says what the ledger remembers; the leader is %s\n\n",
			clean(p.Controller), dash(p.Leader))
	}
	return heading + table(rows...) + section("problems:", problems) + section("warnings:", warnings) +
		section("what sidecars reported to "+clean(p.Controller)+":", reports)
}

func proxyState(p wire.Proxy) string {
	text := clean(string(p.State))
	if p.Serves != "" {
		text += " " + clean(p.Serves)
	}
	return dash(text)
}

// confirmedText is the newest table that a proxy confirmed and, where it is not
// that one, the table that it is to follow.
func confirmedText(p wire.Proxy) string {
	text := "nothing"
	if !p.Epoch.IsZero() {
		text = revisionText(p.Epoch, p.Revision)
	}
	if !p.Confirmed && !p.WantedEpoch.IsZero() {
		text += " (wanted " + revisionText(p.WantedEpoch, p.WantedRevision) + ")"
	}
	return text
}

func revisionText(epoch routes.Epoch, revision uint64) string {
	return epoch.String() + "/" + strconv.FormatUint(revision, 10)
}

func reportText(p wire.Proxy) string {
	r := p.Report
	follows := "follows nothing"
	if !r.Epoch.IsZero() {
		follows = "follows " + revisionText(r.Epoch, r.Revision)
	}
	text := fmt.Sprintf("%s: %s, said sidecar %s at %s", p.Name, follows, r.Sidecar, moment(r.At))
	if r.Sessions > 0 {
		text += fmt.Sprintf("; %d sessions are left on a withdrawn writer", r.Sessions)
	}
	if r.Problem != "" {
		text += "; " + r.Problem
	}
	return text
}
