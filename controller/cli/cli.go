// Package cli is the program: its command line, and the status it ends with.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/ctl"
)

// version is what this source is; the revision is added by the build.
const version = "0.1.0"

// interrupted is the status of a command that a signal ended, by custom.
const interrupted = 130

// Run is the whole program: one command line, and the status it ends with.
// More are commands beside the ones that it has by itself.
func Run(args []string, stdout, stderr io.Writer, more ...*cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends a process that does not heed the first. Some senders deliver one wish twice (timeout does,
	// and a terminal behind another program): what follows at once is no second one.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })

	root := rootCommand()
	root.AddCommand(more...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var status interface{ ExitCode() int }
	switch {
	case errors.As(err, &status):
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "switchyard: interrupted")
		return interrupted
	}
	fmt.Fprintln(stderr, "switchyard:", err)
	if status != nil {
		return status.ExitCode()
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "switchyard",
		Short: "Failover and master discovery for MySQL and MariaDB",
		// What is wrong is said once, by run, and a usage text would bury it.
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return ctl.NewUsageError(fmt.Errorf("%q is not a command; switchyard --help lists them", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return ctl.NewUsageError(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	const run = "run"
	root.AddGroup(&cobra.Group{ID: run, Title: "To run a controller, and to set it up:"})
	for _, c := range []*cobra.Command{controllerCommand(), sidecarCommand(), restoreCommand(), configCommand(), haproxyCommand(), versionCommand()} {
		c.GroupID = run
		root.AddCommand(c)
	}
	root.SetHelpCommandGroupID(run)
	root.SetCompletionCommandGroupID(run)
	ctl.Attach(root, ctl.Env{Lookup: os.LookupEnv, By: caller()})
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Args: ctl.Arguments(), Short: "Print the version",
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "switchyard", version+revision())
			return err
		},
	}
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	text := ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			text = " " + setting.Value[:min(12, len(setting.Value))] + text
		case setting.Key == "vcs.modified" && setting.Value == "true":
			text += " (modified)"
		}
	}
	return text + " " + info.GoVersion
}

// caller is user@host, for the record of what a person asked for.
func caller() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
