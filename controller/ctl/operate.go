package ctl

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// asker is who asks, and why, from the flags of a command.
type asker struct{ wire.Asker }

// flags gives a command --by and --reason; needed is whether the reason must be
// given.
func (a *asker) flags(command *cobra.Command, env Env, needed bool) {
	text := "why, for the audit"
	if needed {
		text += " (required)"
	}
	command.Flags().StringVar(&a.By, "by", env.By, "who asks, for the record")
	command.Flags().StringVar(&a.Reason, "reason", "", text)
}

// reason makes a mistake of a reason that is not given.
func (s session) reason(a asker) error {
	return s.required("reason", a.Reason, "say why: it goes to the audit")
}

func (s session) required(flag, value, text string) error {
	if value == "" {
		return NewUsageError(fmt.Errorf("--%s is missing: %s; usage: %s", flag, text, s.command.UseLine()))
	}
	return nil
}

// server reads the first argument as a server.
func (s session) server() (topology.Key, error) {
	k, err := topology.ParseKey(s.args[0])
	if err != nil {
		return k, NewUsageError(err)
	}
	return k, nil
}

// post asks for something, and prints what was done.
func (s session) post(path string, request any) error {
	var d wire.Done
	if err := s.client.Post(s.command.Context(), path, request, &d); err != nil {
		return err
	}
	return s.print(d, func() string { return Done(d) })
}

// Done prints what was done.
func Done(d wire.Done) string {
	text := clean(d.Sentence) + "\n"
	if !d.Changed {
		text = "nothing to do: " + text
	}
	return text
}

// onServer is a command on one server that has no flags of its own.
func onServer(env Env, use, short, path string, needed bool) *cobra.Command {
	var a asker
	command := newCommand(env, &cobra.Command{Use: use + " INSTANCE", Short: short}, switchoverTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		if needed {
			if err := s.reason(a); err != nil {
				return err
			}
		}
		return s.post(path, wire.ServerRequest{Server: server, Asker: a.Asker})
	})
	a.flags(command, env, needed)
	return command
}

func endDowntimeCommand(env Env) *cobra.Command {
	return onServer(env, "end-downtime", "End a server's downtime", wire.PathEndDowntime, false)
}

func detachCommand(env Env) *cobra.Command {
	return onServer(env, "detach", "Have a replica follow nobody, until it is attached again", wire.PathDetach, true)
}

func reattachCommand(env Env) *cobra.Command {
	return onServer(env, "reattach", "Have a detached replica follow again", wire.PathReattach, false)
}

func beginDowntimeCommand(env Env) *cobra.Command {
	var a asker
	var duration, owner string
	command := newCommand(env, &cobra.Command{
		Use: "begin-downtime INSTANCE", Short: "Have nothing done about a server unasked, for a time",
	}, readTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		if err := s.required("duration", duration, durationHint); err != nil {
			return err
		}
		if err := s.reason(a); err != nil {
			return err
		}
		d, err := parseDuration("--duration", duration)
		if err != nil {
			return err
		}
		return s.post(wire.PathBeginDowntime, wire.DowntimeRequest{Server: server, Duration: d, Owner: owner, Asker: a.Asker})
	})
	command.Flags().StringVar(&duration, "duration", "", "for how long, as in 90s, 2h30m, 3d or 2w (required)")
	command.Flags().StringVar(&owner, "owner", "", "whose downtime it is; without it who asks")
	a.flags(command, env, true)
	return command
}

func promotionRuleCommand(env Env) *cobra.Command {
	var a asker
	var length string
	var take bool
	command := newCommand(env, &cobra.Command{
		Use:   "promotion-rule INSTANCE [RULE]",
		Short: "Say how much a server is wanted as a master: must, prefer, neutral, prefer_not or must_not",
	}, readTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		request := wire.RuleRequest{Server: server, Clear: take, Asker: a.Asker}
		switch {
		case take && (len(s.args) > 1 || length != ""):
			return NewUsageError(errors.New("--clear takes a rule back; leave RULE and --for away"))
		case take:
			return s.post(wire.PathPromotionRule, request)
		case len(s.args) < 2:
			return NewUsageError(fmt.Errorf("RULE is missing: give one, or --clear to take it back; usage: %s", s.command.UseLine()))
		}
		request.Rule = s.args[1]
		if _, err := policy.ParseRule(request.Rule); err != nil {
			return NewUsageError(err)
		}
		if length != "" {
			if request.For, err = parseDuration("--for", length); err != nil {
				return err
			}
		}
		return s.post(wire.PathPromotionRule, request)
	})
	command.Flags().StringVar(&length, "for", "", "for how long; without it until it is taken back")
	command.Flags().BoolVar(&take, "clear", false, "take the rule back, so that the configuration's counts again")
	a.flags(command, env, false)
	return command
}

func pauseCommand(env Env) *cobra.Command {
	var a asker
	command := newCommand(env, &cobra.Command{
		Use: "pause [CLUSTER]", Short: "Have no automatic recovery begin, of a cluster or of all",
	}, readTimeout, func(s session) error {
		cluster, err := s.optionalCluster()
		if err != nil {
			return err
		}
		if err := s.reason(a); err != nil {
			return err
		}
		return s.post(wire.PathPause, wire.PauseRequest{Cluster: cluster, Asker: a.Asker})
	})
	a.flags(command, env, true)
	return command
}

func resumeCommand(env Env) *cobra.Command {
	var a asker
	command := newCommand(env, &cobra.Command{
		Use: "resume [CLUSTER]", Short: "End a pause of a cluster, or that of all",
	}, readTimeout, func(s session) error {
		cluster, err := s.optionalCluster()
		if err != nil {
			return err
		}
		return s.post(wire.PathResume, wire.ResumeRequest{Cluster: cluster, Asker: a.Asker})
	})
	a.flags(command, env, false)
	return command
}

func (s session) optionalCluster() (string, error) {
	if len(s.args) == 0 {
		return "", nil
	}
	return s.name("cluster")
}

func ackCommand(env Env) *cobra.Command {
	var cluster, comment string
	by := env.By
	command := newCommand(env, &cobra.Command{
		Use:   "ack [RECOVERY]",
		Short: "Acknowledge a recovery, or with --cluster all of a cluster that wait for it",
		Long: "Acknowledge a recovery, or with --cluster all of a cluster that wait for it. That ends the anti-flap window, and the\n" +
			"hold after several crashes in a row.",
	}, readTimeout, func(s session) error {
		request := wire.AckRequest{Cluster: cluster, Comment: comment, By: by}
		switch {
		case len(s.args) == 0 && cluster == "":
			return NewUsageError(fmt.Errorf("RECOVERY is missing: give one, or --cluster for all of a cluster; usage: %s",
				s.command.UseLine()))
		case len(s.args) == 1 && cluster != "":
			return NewUsageError(errors.New("--cluster is for all of a cluster; leave it or RECOVERY away"))
		case len(s.args) == 1:
			id, err := s.name("recovery")
			if err != nil {
				return err
			}
			request.Recovery = id
		}
		if err := s.required("comment", comment, "say what came of it"); err != nil {
			return err
		}
		return s.post(wire.PathAck, request)
	})
	command.Flags().StringVar(&cluster, "cluster", "", "all of this cluster")
	command.Flags().StringVar(&comment, "comment", "", "what came of it (required)")
	command.Flags().StringVar(&by, "by", by, "who asks, for the record")
	return command
}

func moveCommand(env Env) *cobra.Command {
	var a asker
	var below string
	command := newCommand(env, &cobra.Command{
		Use: "move INSTANCE", Short: "Have a replica follow another server of its cluster",
	}, switchoverTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		if err := s.required("below", below, "name whom it is to follow, as HOST:PORT"); err != nil {
			return err
		}
		request := wire.MoveRequest{Server: server, Asker: a.Asker}
		if request.Below, err = optionalKey("--below", below); err != nil {
			return err
		}
		return s.post(wire.PathMove, request)
	})
	command.Flags().StringVar(&below, "below", "", "whom it is to follow, HOST:PORT (required)")
	a.flags(command, env, false)
	return command
}

func setReadOnlyCommand(env Env) *cobra.Command {
	var a asker
	var off bool
	command := newCommand(env, &cobra.Command{
		Use: "set-read-only INSTANCE", Short: "Make a server read-only, or with --off let it accept writes",
	}, switchoverTimeout, func(s session) error {
		server, err := s.server()
		if err != nil {
			return err
		}
		if err := s.reason(a); err != nil {
			return err
		}
		on := !off
		return s.post(wire.PathSetReadOnly, wire.ReadOnlyRequest{Server: server, ReadOnly: &on, Asker: a.Asker})
	})
	command.Flags().BoolVar(&off, "off", false, "let it accept writes")
	a.flags(command, env, true)
	return command
}

func parseDuration(flag, text string) (wire.Duration, error) {
	d, err := wire.ParseDuration(text)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%s: want more than 0", text)
	}
	if err != nil {
		return 0, NewUsageError(fmt.Errorf("%s: %w", flag, err))
	}
	return d, nil
}
