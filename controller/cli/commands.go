package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"switchyard/controller/app"
	"switchyard/controller/config"
	"switchyard/controller/ctl"
	"switchyard/router/haproxy"
	sidecar "switchyard/sidecar/app"
	sidecarconfig "switchyard/sidecar/config"
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

func sidecarCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "sidecar --config FILE", Args: ctl.Arguments(), Short: "Run a sidecar, beside a proxy or a mysqld",
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				return ctl.NewUsageError(errors.New("--config is missing; name a sidecar's configuration file"))
			}
			file, err := sidecarconfig.Load(path, os.LookupEnv)
			if err != nil {
				return ctl.NewUsageError(err)
			}
			if err := sidecar.Run(c.Context(), file); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		},
	}
	configFlag(c, &path)
	c.AddCommand(watchdogCommand(), readyCommand())
	return c
}

// readyCommand is for the unit of a mysqld beside a sidecar, before its start.
func readyCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "ready --config FILE", Args: ctl.Arguments(),
		Short: "Wait, a minute at most, until the sidecar lets its mysqld be started again after a crash",
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				return ctl.NewUsageError(errors.New("--config is missing; name the sidecar's configuration file"))
			}
			file, err := sidecarconfig.Load(path, os.LookupEnv)
			if err != nil {
				return ctl.NewUsageError(err)
			}
			return sidecar.Ready(c.Context(), file)
		},
	}
	configFlag(c, &path)
	return c
}

// watchdogCommand is what a sidecar starts beside itself.
func watchdogCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watchdog PID", Args: ctl.Arguments("PID"), Hidden: true, Short: "End a mysqld at the end of its lease; started by its sidecar",
		RunE: func(_ *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[0])
			if err != nil {
				return ctl.NewUsageError(fmt.Errorf("%q is not the id of a process", args[0]))
			}
			return sidecar.Watchdog(pid)
		},
	}
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

// loadEither reads what a controller's file says, or what a sidecar's does of the
// proxies beside it.
func loadEither(path string, beside bool) (*config.File, error) {
	if !beside || path == "" {
		return load(path)
	}
	file, err := sidecarconfig.Load(path, os.LookupEnv)
	if err != nil {
		return nil, ctl.NewUsageError(err)
	}
	return &config.File{HAProxy: file.HAProxy}, nil
}

func configCommand() *cobra.Command {
	var beside bool
	c := &cobra.Command{
		Use: "example", Args: ctl.Arguments(), Short: "Print a commented configuration to start from",
		RunE: func(c *cobra.Command, _ []string) error {
			text := config.Example()
			if beside {
				text = sidecarconfig.Example()
			}
			_, err := io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().BoolVar(&beside, "sidecar", false, "that of a sidecar")
	return group("config", "Help with the configuration", c)
}

func haproxyCommand() *cobra.Command {
	var path, name, out string
	var script, beside bool
	c := &cobra.Command{
		Use: "config CLUSTER --config FILE", Short: "Print an HAProxy configuration for a cluster's writer",
		Args: ctl.Arguments("CLUSTER"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := loadEither(path, beside)
			if err != nil {
				return err
			}
			lua := haproxy.DefaultLua
			if out != "" {
				if lua, err = filepath.Abs(filepath.Join(out, haproxy.HoldFile)); err != nil {
					return err
				}
			}
			text, err := app.Entrance(file, args[0], name, lua)
			switch {
			case err != nil:
				return ctl.NewUsageError(fmt.Errorf("%s: %w", path, err))
			case out != "":
				return writeEntrance(out, text)
			case script:
				text = haproxy.HoldScript
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&name, "name", "", "haproxy[].name, where a cluster has several")
	c.Flags().StringVar(&out, "out", "", "write haproxy.cfg and "+haproxy.HoldFile+" into this directory, instead of printing")
	c.Flags().BoolVar(&beside, "sidecar", false, "the configuration file is that of the sidecar beside the proxy")
	c.Flags().BoolVar(&script, "lua", false, "print "+haproxy.HoldFile+", which the configuration loads")
	c.MarkFlagsMutuallyExclusive("out", "lua")
	return group("haproxy", "Help with HAProxy", c)
}

// writeEntrance writes what HAProxy starts with, the script before the
// configuration that needs it, and each file whole or not at all.
func writeEntrance(dir, text string) error {
	for _, file := range []struct{ name, text string }{{haproxy.HoldFile, haproxy.HoldScript}, {"haproxy.cfg", text}} {
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path+".new", []byte(file.text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
