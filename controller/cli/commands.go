package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"switchyard/controller/app"
	"switchyard/controller/config"
	"switchyard/controller/ctl"
)

// group is a command that only has commands under it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: ctl.Arguments(),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

func controllerCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "controller --config FILE", Args: ctl.Arguments(), Short: "Run a controller",
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := load(path)
			if err != nil {
				return err
			}
			err = app.RunController(c.Context(), file)
			var status interface{ ExitCode() int }
			if errors.As(err, &status) && status.ExitCode() == 2 {
				return fmt.Errorf("%s: %w", path, err)
			}
			return err
		},
	}
	configFlag(c, &path)
	return c
}

func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", "", "the configuration file")
}

// load makes a mistake in the configuration end the process with status 2,
// before anything has been started.
func load(path string) (*config.File, error) {
	if path == "" {
		return nil, ctl.NewUsageError(errors.New(
			"--config is missing; name a configuration file, as switchyard config example prints one"))
	}
	file, err := config.Load(path, os.LookupEnv)
	if err != nil {
		return nil, ctl.NewUsageError(err)
	}
	return file, nil
}

func configCommand() *cobra.Command {
	return group("config", "Help with the configuration", &cobra.Command{
		Use: "example", Args: ctl.Arguments(), Short: "Print a commented configuration to start from",
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), config.Example())
			return err
		},
	})
}

func haproxyCommand() *cobra.Command {
	var path, name string
	c := &cobra.Command{
		Use: "config CLUSTER --config FILE", Short: "Print an HAProxy configuration for a cluster's writer",
		Args: ctl.Arguments("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := load(path)
			if err != nil {
				return err
			}
			text, err := app.Entrance(file, args[0], name)
			if err != nil {
				return ctl.NewUsageError(fmt.Errorf("%s: %w", path, err))
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&name, "name", "", "haproxy[].name, where a cluster has several")
	return group("haproxy", "Help with HAProxy", c)
}
