package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/app"
	"switchyard/controller/ctl"
)

// restoreCommand works on the data directory of a controller that does not run.
func restoreCommand() *cobra.Command {
	var path, from string
	var generation uint64
	c := &cobra.Command{
		Use: "restore --config FILE --from BACKUP", Args: ctl.Arguments(),
		Short: "Begin a controller's ledger anew from a backup, in its empty data directory",
		Long: "Begin a controller's ledger anew from a backup, in its empty data directory, under a new generation of epochs. Do so on\n" +
			"all controllers, from one backup, before any of them is started; the first says which --generation to give to the others.\n" +
			"Each cluster is held until its master was seen, and nobody knows a later epoch than the backup: see switchyard status.",
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := load(path)
			if err != nil {
				return err
			}
			if from == "" {
				return ctl.NewUsageError(errors.New("--from is missing; name a file that switchyard backup wrote"))
			}
			data, err := readBackup(from)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			done, err := app.Restore(c.Context(), file, data, generation)
			if err != nil {
				return fmt.Errorf("%s: nothing was restored: %w", from, err)
			}
			held := "it knows no cluster"
			if len(done.Held) > 0 {
				held = "held until they are adopted anew: " + strings.Join(done.Held, ", ")
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s holds the ledger of %q, up to entry %d; %s\n"+
				"restore the other controllers with --generation %d before you start any\n",
				file.DataDir, done.Backup.Name, done.Backup.Index, held, done.Generation)
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&from, "from", "", "a file that switchyard backup wrote (required)")
	c.Flags().Uint64Var(&generation, "generation", 0, "the one that the first controller was restored with; without it a new one")
	return c
}

func readBackup(path string) (data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err = io.ReadAll(io.LimitReader(file, wire.MaxBackup+1))
	if err == nil && len(data) > wire.MaxBackup {
		err = fmt.Errorf("%s is longer than %d bytes: it is no backup", path, wire.MaxBackup)
	}
	return data, err
}
