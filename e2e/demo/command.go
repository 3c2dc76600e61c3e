package demo

import (
	"strings"

	"github.com/spf13/cobra"

	"switchyard/controller/ctl"
)

// Command is `switchyard demo`.
func Command() *cobra.Command {
	options := Options{}
	c := &cobra.Command{
		Use: "demo", Args: ctl.Arguments(), Short: "Fail over real servers on loopback, and tell how it went",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return ctl.NewUsageError(err)
			}
			return Run(c.Context(), options, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&options.Flavor, "flavor", Flavors()[0], strings.Join(Flavors(), " or "))
	flags.StringVar(&options.Fault, "fault", Faults()[0], "what happens to the master: "+strings.Join(Faults(), ", "))
	flags.IntVar(&options.Proxies, "proxies", 1, "how many HAProxies there are; the application uses the first")
	flags.BoolVar(&options.SemiSync, "semi-sync", false, "every commit waits until a replica has it")
	flags.BoolVar(&options.Keep, "keep", false, "leave everything running until Ctrl-C, and print the addresses")
	flags.BoolVar(&options.JSON, "json", false, "end with the result as one JSON object on stdout; the rest goes to stderr")
	return c
}
