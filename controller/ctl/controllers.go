package ctl

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
)

func controllersCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use: "controllers", Short: "See the controllers themselves, add, remove and move them, and have another one lead", Args: Arguments(),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(controllersListCommand(env), controllersAddCommand(env), controllersMoveCommand(env), controllersRemoveCommand(env),
		transferLeaderCommand(env))
	return c
}

func controllersListCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use: "list", Short: "Show each controller: what it is in raft, and how far it is",
	}, readTimeout, func(s session) error {
		var all wire.Controllers
		if err := s.get(wire.PathControllers, &all); err != nil {
			return err
		}
		return s.print(all, func() string { return Controllers(all) })
	})
}

func transferLeaderCommand(env Env) *cobra.Command {
	var a asker
	var force bool
	command := newCommand(env, &cobra.Command{
		Use: "transfer-leader [ID]", Short: "Have another controller lead: the one named, or the one that is furthest",
	}, readTimeout, func(s session) error {
		request := wire.TransferRequest{Force: force, Asker: a.Asker}
		if len(s.args) == 1 {
			to, err := s.name("controller")
			if err != nil {
				return err
			}
			request.To = to
		}
		return s.post(wire.PathTransferLeader, request)
	})
	command.Flags().BoolVar(&force, "force", false, "in the midst of a recovery, too: the next leader goes on with it")
	a.flags(command, env, false)
	return command
}

// Controllers prints a table of the controllers.
func Controllers(all wire.Controllers) string {
	out := pairs("leader", leaderText(all.Leader), "term", strconv.FormatUint(all.Term, 10),
		"voters", fmt.Sprintf("%d of %d answer, %d must", all.Answering, all.Voters, all.Majority),
		"answered by", clean(all.Controller))
	if all.Change != nil {
		out += pairs("under way", underWay(*all.Change))
	}
	rows := [][]string{{"CONTROLLER", "DC", "ROLE", "STATE", "REACHABLE", "HEARD LEADER", "APPLIED", "LAG", "API", "RAFT"}}
	var problems []string
	for _, c := range all.Controllers {
		heard, applied, lag := "-", "-", "-"
		if c.LastContactMS != nil {
			heard = ms(*c.LastContactMS) + " ago"
		}
		if c.Reachable {
			applied, lag = strconv.FormatUint(c.AppliedIndex, 10), strconv.FormatUint(c.Lag, 10)
		}
		rows = append(rows, []string{
			clean(c.ID), dash(c.DataCenter), clean(c.Role), dash(c.State), yes(c.Reachable), heard, applied, lag, dash(c.API), dash(c.Raft),
		})
		if c.Problem != "" {
			problems = append(problems, c.ID+": "+c.Problem)
		}
	}
	return out + "\n" + table(rows...) + section("problems:", append(problems, all.Problems...))
}

func leaderText(id string) string {
	if id == "" {
		return "NONE: nothing is decided until a majority of the controllers elects one"
	}
	return clean(id)
}
