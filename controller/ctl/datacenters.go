package ctl

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
)

func datacentersCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use: "datacenters", Short: "See the datacenters, and mark one down before something happens to it", Args: Arguments(),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(datacentersListCommand(env), datacenterDownCommand(env), datacenterUpCommand(env))
	return c
}

func datacentersListCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use: "list", Short: "Show each datacenter, what is in it, and whether it is marked down",
	}, readTimeout, func(s session) error {
		var all wire.DataCenters
		if err := s.get(wire.PathDatacenters, &all); err != nil {
			return err
		}
		return s.print(all, func() string { return Datacenters(all) })
	})
}

func datacenterDownCommand(env Env) *cobra.Command {
	var a asker
	var length string
	command := newCommand(env, &cobra.Command{
		Use: "down DATACENTER", Short: "Have no controller there lead while another can, and no server there promoted unasked",
	}, readTimeout, func(s session) error {
		if err := s.required("for", length, durationHint); err != nil {
			return err
		}
		if err := s.reason(a); err != nil {
			return err
		}
		d, err := parseDuration("--for", length)
		if err != nil {
			return err
		}
		return s.post(wire.PathDatacenterDown, wire.DatacenterDownRequest{DataCenter: s.args[0], Duration: d, Asker: a.Asker})
	})
	command.Flags().StringVar(&length, "for", "", "for how long, as in 90s, 2h30m, 3d or 2w (required)")
	a.flags(command, env, true)
	return command
}

func datacenterUpCommand(env Env) *cobra.Command {
	var a asker
	command := newCommand(env, &cobra.Command{
		Use: "up DATACENTER", Short: "Take back that a datacenter is down",
	}, readTimeout, func(s session) error {
		return s.post(wire.PathDatacenterUp, wire.DatacenterUpRequest{DataCenter: s.args[0], Asker: a.Asker})
	})
	a.flags(command, env, false)
	return command
}

// Datacenters prints a table of the datacenters.
func Datacenters(all wire.DataCenters) string {
	rows := [][]string{{"DATACENTER", "CONTROLLERS", "LEADS", "SERVERS", "MASTER OF", "DOWN UNTIL"}}
	var marks []wire.DataCenterDown
	for _, dc := range all.DataCenters {
		until := "-"
		if dc.Down != nil {
			until = moment(dc.Down.Until)
			marks = append(marks, *dc.Down)
		}
		rows = append(rows, []string{
			clean(dc.DataCenter), dash(cleaned(dc.Controllers)), yes(dc.Leads), strconv.Itoa(dc.Servers), dash(cleaned(dc.Masters)), until,
		})
	}
	return table(rows...) + section("marked down:", downLines(marks))
}

func cleaned(names []string) string { return clean(strings.Join(names, ", ")) }

func downLines(marks []wire.DataCenterDown) []string {
	var lines []string
	for _, d := range marks {
		lines = append(lines, fmt.Sprintf("%s: by %s, since %s, until %s: %s", d.DataCenter, cmp.Or(d.By, "-"), moment(d.Begun), moment(d.Until), d.Reason))
	}
	return lines
}
