package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func switchoverCommand(env Env) *cobra.Command {
	var a asker
	var to string
	command := newCommand(env, &cobra.Command{
		Use:   "switchover CLUSTER",
		Short: "Move a cluster's master to another server, as planned",
	}, switchoverTimeout, func(s session) error {
		cluster, err := s.name("cluster")
		if err != nil {
			return err
		}
		request := wire.SwitchoverRequest{Cluster: cluster, By: a.By, Reason: a.Reason}
		if request.To, err = optionalKey("--to", to); err != nil {
			return err
		}
		return s.recovery(wire.PathSwitchover, request)
	})
	command.Flags().StringVar(&to, "to", "", "the new master, HOST:PORT; without it the best candidate")
	a.flags(command, env, false)
	return command
}

// verdict makes a recovery that did not complete a failure of the command.
func verdict(r wire.Recovery) error {
	switch {
	case r.Outcome == ledger.Completed:
		return nil
	case r.Open():
		return fmt.Errorf("%s %s is not complete yet; follow it with switchyard recoveries %s", r.Kind, r.ID, r.ID)
	default:
		return fmt.Errorf("%s %s: %s: %s", r.Kind, r.ID, r.Outcome, orNone(r.Message, "no reason was recorded"))
	}
}

func recoverCommand(env Env) *cobra.Command {
	var a asker
	command := newCommand(env, &cobra.Command{
		Use:   "recover INSTANCE",
		Short: "Recover from the failure of a server now, with every check but those for who is not asked",
		Long: "Recover from the failure of a master, a co-master or an intermediate master now. It is done as it would be\n" +
			"unasked, with every check of what is safe. A pause, a downtime, the anti-flap window, the cascade's hold, and that\n" +
			"automatic recovery is off do not count: you have asked.",
	}, switchoverTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		return s.recovery(wire.PathRecover, wire.ServerRequest{Server: server, Asker: a.Asker})
	})
	a.flags(command, env, false)
	return command
}

func failoverCommand(env Env) *cobra.Command {
	var a asker
	var to string
	var force bool
	command := newCommand(env, &cobra.Command{
		Use:   "failover CLUSTER",
		Short: "Replace a cluster's master in spite of every doubt, with --force; explains what is in the way without",
		Long: "Replace a cluster's master in spite of every doubt. This may lose transactions, and make two masters where the\n" +
			"old one lives on: try `switchyard recover` first, which does it with every check. Without --force nothing is done,\n" +
			"and it is explained what would be, and what is in the way.",
	}, switchoverTimeout, func(s session) error {
		cluster, err := s.name("cluster")
		if err != nil {
			return err
		}
		request := wire.FailoverRequest{Cluster: cluster, Force: force, Asker: a.Asker}
		if request.To, err = optionalKey("--to", to); err != nil {
			return err
		}
		if force {
			if err := s.reason(a); err != nil {
				return err
			}
		}
		return s.recovery(wire.PathFailover, request)
	})
	command.Flags().BoolVar(&force, "force", false, "do it")
	command.Flags().StringVar(&to, "to", "", "the new master, HOST:PORT; without it whoever is best, or else has received most")
	a.flags(command, env, false)
	return command
}

// recovery posts a request that ends in a recovery, and prints it.
func (s session) recovery(path string, request any) error {
	var r wire.Recovery
	if err := s.client.Post(s.command.Context(), path, request, &r); err != nil {
		return err
	}
	if err := s.print(r, func() string { return Recovery(r) }); err != nil {
		return err
	}
	return verdict(r)
}

func optionalKey(flag, text string) (topology.Key, error) {
	if text == "" {
		return topology.Key{}, nil
	}
	k, err := topology.ParseKey(text)
	if err != nil {
		return k, NewUsageError(fmt.Errorf("%s: %w", flag, err))
	}
	return k, nil
}
