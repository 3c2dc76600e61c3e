package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
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
	// By says who calls, for the record of a switchover.
	By string
}

// options are the flags that all commands have.
type options struct {
	env     Env
	api     []string
	format  string
	timeout time.Duration
}

// Commands returns the operator's commands.
func Commands(env Env) []*cobra.Command {
	return []*cobra.Command{
		topologyCommand(env), clustersCommand(env), statusCommand(env),
		recoveriesCommand(env), switchoverCommand(env), explainCommand(env),
	}
}

// newCommand gives a command the common flags, and run a client.
func newCommand(env Env, command *cobra.Command, timeout time.Duration, run func(session) error) *cobra.Command {
	o := &options{env: env}
	flags := command.Flags()
	flags.StringSliceVar(&o.api, "api", nil, "URLs of the controllers (or set "+Environment+")")
	flags.StringVar(&o.format, "format", "text", "text or json")
	flags.DurationVar(&o.timeout, "timeout", timeout, "how long to wait for the answer")
	command.Args = Arguments(strings.Fields(command.Use)[1:]...)
	command.RunE = func(c *cobra.Command, given []string) error {
		if err := notEmpty(c, map[string]string{
			"api": "want URLs of controllers", "cluster": "want a name, or leave --cluster away for all",
			"to": "want HOST:PORT, or leave --to away for the best candidate",
		}); err != nil {
			return err
		}
		client, err := o.client()
		if err != nil {
			return err
		}
		return run(session{command: c, client: client, args: given, json: o.format == "json"})
	}
	return command
}

func (o *options) client() (*Client, error) {
	if o.format != "text" && o.format != "json" {
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
	return NewClient(api, o.timeout)
}

// session is one call of a command.
type session struct {
	command *cobra.Command
	client  *Client
	args    []string
	json    bool
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
	command := newCommand(env, &cobra.Command{
		Use:   "recoveries [ID]",
		Short: "List the recoveries, or show each step of one with times and evidence",
	}, readTimeout, func(s session) error {
		if len(s.args) == 1 {
			if cluster != "" {
				return NewUsageError(errors.New("--cluster goes with the list; leave it or ID away"))
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
		return s.print(list, func() string { return Recoveries(list) })
	})
	command.Flags().StringVar(&cluster, "cluster", "", "list those of this cluster only")
	return command
}

func switchoverCommand(env Env) *cobra.Command {
	var to string
	by := env.By
	command := newCommand(env, &cobra.Command{
		Use:   "switchover CLUSTER",
		Short: "Move a cluster's master to another server, as planned",
	}, switchoverTimeout, func(s session) error {
		cluster, err := s.name("cluster")
		if err != nil {
			return err
		}
		request := wire.SwitchoverRequest{Cluster: cluster, By: by}
		if to != "" {
			if request.To, err = topology.ParseKey(to); err != nil {
				return NewUsageError(fmt.Errorf("--to: %w", err))
			}
		}
		var r wire.Recovery
		if err := s.client.Post(s.command.Context(), wire.PathSwitchover, request, &r); err != nil {
			return err
		}
		if err := s.print(r, func() string { return Recovery(r) }); err != nil {
			return err
		}
		return verdict(r)
	})
	command.Flags().StringVar(&to, "to", "", "the new master, HOST:PORT; without it the best candidate")
	command.Flags().StringVar(&by, "by", by, "who asks, for the record")
	return command
}

// verdict makes a switchover that did not complete a failure of the command.
func verdict(r wire.Recovery) error {
	switch {
	case r.Outcome == ledger.Completed:
		return nil
	case r.Open():
		return fmt.Errorf("switchover %s is not complete yet; follow it with switchyard recoveries %s", r.ID, r.ID)
	default:
		return fmt.Errorf("switchover %s: %s: %s", r.ID, r.Outcome, orNone(r.Message, "no reason was recorded"))
	}
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
