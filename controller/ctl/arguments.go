package ctl

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Arguments checks that a command is given the named arguments and no others.
// One in brackets, as in [CLUSTER], may be left away.
func Arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		switch {
		case len(given) > len(names):
			return NewUsageError(fmt.Errorf("%.40q is not known here; usage: %s", given[len(names)], c.UseLine()))
		case len(given) < len(names) && !strings.HasPrefix(names[len(given)], "["):
			return NewUsageError(fmt.Errorf("%s is missing; usage: %s", names[len(given)], c.UseLine()))
		}
		return nil
	}
}

// notEmpty makes a mistake of a flag that is given without a value, as a
// variable of the shell that is not set does: the default would be another wish.
func notEmpty(c *cobra.Command, want map[string]string) error {
	for name, text := range want {
		if flag := c.Flags().Lookup(name); flag != nil && flag.Changed && strings.Trim(flag.Value.String(), "[]") == "" {
			return NewUsageError(fmt.Errorf("--%s is empty: %s", name, text))
		}
	}
	return nil
}
