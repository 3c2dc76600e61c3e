//go:build stoppoints

package executor

import (
	"context"
	"os"
	"syscall"
)

// stopPoint ends this process, without any cleaning up, before the step that
// SWITCHYARD_STOP_BEFORE names; only the first process to create the file that
// SWITCHYARD_STOP_ONCE names does so, so that the next leader can go on.
func stopPoint(_ context.Context, step string) error {
	if os.Getenv("SWITCHYARD_STOP_BEFORE") != step {
		return nil
	}
	f, err := os.OpenFile(os.Getenv("SWITCHYARD_STOP_ONCE"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil //nolint:nilerr // another controller has stopped here already
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
