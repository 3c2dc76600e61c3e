package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
)

// Environment is the variable that names the controllers where --api does not.
const Environment = "SWITCHYARD_API"

const (
	readTimeout = 10 * time.Second
	// switchoverTimeout is a little longer than the controllers' own.
	switchoverTimeout = 70 * time.Second
)

// Env is what the commands take from outside.
type Env struct {
	// Lookup reads a variable of the environment, as os.LookupEnv does.
	Lookup func(string) (string, bool)
	// By says who calls, for the record of what is asked for.
	By string
}

// options are the flags that all commands have.
type options struct {
	env     Env
	api     []string
	format  string
	timeout time.Duration
	access  access
}

// Attach gives root the operator's commands, in groups.
func Attach(root *cobra.Command, env Env) {
	for _, g := range groups(env) {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
}

// group is commands that the help shows together.
type group struct {
	id, title string
	commands  []*cobra.Command
}

func groups(env Env) []group {
	return []group{
		{"see", "To see what is, and what would be done:", []*cobra.Command{
			topologyCommand(env), clustersCommand(env), statusCommand(env), proxiesCommand(env), kvCommand(env), explainCommand(env), recoveriesCommand(env),
			auditCommand(env), backupCommand(env),
		}},
		{"master", "To change a cluster's master:", []*cobra.Command{
			switchoverCommand(env), recoverCommand(env), failoverCommand(env), adoptCommand(env),
		}},
		{"server", "To change one server:", []*cobra.Command{
			moveCommand(env), detachCommand(env), reattachCommand(env), setReadOnlyCommand(env),
		}},
		{"say", "To say what is to be heeded:", []*cobra.Command{
			beginDowntimeCommand(env), endDowntimeCommand(env), promotionRuleCommand(env), pauseCommand(env),
			resumeCommand(env), ackCommand(env),
		}},
		{"controllers", "To run the controllers:", []*cobra.Command{controllersCommand(env), datacentersCommand(env)}},
	}
}

const (
	durationHint = "want a length of time such as 90s, 2h30m, 3d or 2w"
	sinceHint    = "want how long ago, as in 2h or 3d, or a time as in 2006-01-02T15:04:05Z"
)

// newCommand gives a command the common flags, and run a client.
func newCommand(env Env, command *cobra.Command, timeout time.Duration, run func(session) error) *cobra.Command {
	o := &options{env: env}
	flags := command.Flags()
	flags.StringSliceVar(&o.api, "api", nil, "URLs of the controllers (or set "+Environment+")")
	o.access.flags(command)
	flags.StringVar(&o.format, "format", "text", "text or json")
	flags.DurationVar(&o.timeout, "timeout", timeout, "how long to wait for the answer")
	command.Args = Arguments(strings.Fields(command.Use)[1:]...)
	command.RunE = func(c *cobra.Command, given []string) error {
		if err := notEmpty(c, map[string]string{
			"api": "want URLs of controllers", "cluster": "want a name, or leave --cluster away for all",
			"to": "want HOST:PORT, or leave --to away for the best candidate",
			"by": "want who asks, or leave --by away for your own name", "reason": "say why: it goes to the audit",
			"owner": "want a name, or leave --owner away for who asks", "comment": "say what came of it",
			"duration": durationHint, "for": durationHint + ", or leave --for away for a rule that stays",
			"below": "want HOST:PORT", "server": "want HOST:PORT, or leave --server away for all",
			"ca": "want a file", "cert": "want a file", "key": "want a file", "token-file": "want a file", "password-file": "want a file",
			"user": "want a name", "kind": "want a kind, or leave --kind away for all", "since": sinceHint,
		}); err != nil {
			return err
		}
		if o.format == "jsonl" && c.Name() != "audit" {
			return NewUsageError(errors.New("--format jsonl goes with audit only; want text or json"))
		}
		client, err := o.client()
		if err != nil {
			return err
		}
		return run(session{command: c, client: client, args: given, json: o.format == "json", lines: o.format == "jsonl"})
	}
	return command
}

func (o *options) client() (*Client, error) {
	if o.format != "text" && o.format != "json" && o.format != "jsonl" {
		return nil, NewUsageError(fmt.Errorf("--format %q: want text or json", o.format))
	}
	if o.timeout <= 0 {
		return nil, NewUsageError(fmt.Errorf("--timeout %s: want more than 0", o.timeout))
	}
	api := o.api
	if len(api) == 0 {
		if value, ok := o.env.Lookup(Environment); ok {
			api = []string{value}
		}
	}
	client, err := NewClient(api, o.timeout)
	if err != nil {
		return nil, err
	}
	return client, o.access.secured(client, o.env.Lookup)
}

// session is one call of a command.
type session struct {
	command *cobra.Command
	client  *Client
	args    []string
	// json and lines are whether the answer is printed as JSON, or with a line
	// for each entry.
	json, lines bool
}

func (s session) get(path string, value any) error {
	return s.client.Get(s.command.Context(), path, value)
}

// name checks the first argument, so that a slip is named here and not as a
// path that does not exist.
func (s session) name(kind string) (string, error) {
	if err := wire.CheckName(kind, s.args[0]); err != nil {
		return "", NewUsageError(err)
	}
	return s.args[0], nil
}

func (s session) print(value any, text func() string) error {
	out := ""
	if s.json {
		body, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		out = string(body) + "\n"
	} else {
		out = text()
	}
	return s.write(out, nil)
}

func (s session) write(out string, err error) error {
	if err != nil {
		return err
	}
	if _, err := io.WriteString(s.command.OutOrStdout(), out); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func topologyCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use:   "topology [CLUSTER]",
		Short: "Show a cluster, or all, as a tree with one line for each server",
	}, readTimeout, func(s session) error {
		if len(s.args) == 1 {
			cluster, err := s.name("cluster")
			if err != nil {
				return err
			}
			var t wire.Topology
			if err := s.get(wire.PathTopology+cluster, &t); err != nil {
				return err
			}
			return s.print(t, func() string { return Tree(t) })
		}
		var clusters []wire.Cluster
		if err := s.get(wire.PathClusters, &clusters); err != nil {
			return err
		}
		all := make([]wire.Topology, len(clusters))
		trees := make([]string, len(clusters))
		for i, c := range clusters {
			if err := s.get(wire.PathTopology+url.PathEscape(c.Name), &all[i]); err != nil {
				return fmt.Errorf("cluster %s: %w", c.Name, err)
			}
			trees[i] = Tree(all[i])
		}
		return s.print(all, func() string { return orNone(strings.Join(trees, "\n"), "no cluster is known yet") })
	})
}

func clustersCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use: "clusters", Short: "List the clusters, their masters and epochs",
	}, readTimeout, func(s session) error {
		var clusters []wire.Cluster
		if err := s.get(wire.PathClusters, &clusters); err != nil {
			return err
		}
		return s.print(clusters, func() string { return Clusters(clusters) })
	})
}

func statusCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use: "status", Short: "Show the controllers, the leader, and who has confirmed which epoch",
	}, readTimeout, func(s session) error {
		var status wire.Status
		if err := s.get(wire.PathStatus, &status); err != nil {
			return err
		}
		return s.print(status, func() string { return Status(status) })
	})
}

func recoveriesCommand(env Env) *cobra.Command {
	var cluster string
	var unacknowledged bool
	command := newCommand(env, &cobra.Command{
		Use:   "recoveries [ID]",
		Short: "List the recoveries, or show each step of one with times and evidence",
	}, readTimeout, func(s session) error {
		if len(s.args) == 1 {
			if cluster != "" || unacknowledged {
				return NewUsageError(errors.New("--cluster and --unacknowledged go with the list; leave them or ID away"))
			}
			id, err := s.name("recovery")
			if err != nil {
				return err
			}
			var r wire.Recovery
			if err := s.get(wire.PathRecoveries+"/"+id, &r); err != nil {
				return err
			}
			return s.print(r, func() string { return Recovery(r) })
		}
		path := wire.PathRecoveries
		if cluster != "" {
			path += "?cluster=" + url.QueryEscape(cluster)
		}
		var list []wire.Recovery
		if err := s.get(path, &list); err != nil {
			return err
		}
		if unacknowledged {
			list = slices.DeleteFunc(list, func(r wire.Recovery) bool { return r.Open() || r.Ack != nil })
		}
		return s.print(list, func() string { return Recoveries(list) })
	})
	command.Flags().BoolVar(&unacknowledged, "unacknowledged", false, "list those only that have ended and that nobody acknowledged")
	command.Flags().StringVar(&cluster, "cluster", "", "list those of this cluster only")
	return command
}

func explainCommand(env Env) *cobra.Command {
	return newCommand(env, &cobra.Command{
		Use:   "explain CLUSTER",
		Short: "Say what would be done about a cluster now, and what holds it back",
	}, readTimeout, func(s session) error {
		cluster, err := s.name("cluster")
		if err != nil {
			return err
		}
		var e wire.Explanation
		if err := s.get(wire.PathExplain+cluster, &e); err != nil {
			return err
		}
		return s.print(e, func() string { return Explanation(e) })
	})
}
