//go:build !linux

package fence

import (
	"context"
	"errors"
	"os"
)

// Process is a process that is held by a pidfd, which only Linux has.
type Process struct{}

// errLinux: pidfds are Linux's.
var errLinux = errors.New("the sidecar beside a database needs Linux, to hold on to its process")

// Find refuses.
func Find(context.Context, Place) (*Process, error) { return nil, errLinux }

// PID returns no process.
func (*Process) PID() int { return 0 }

// Close does nothing.
func (*Process) Close() {}

// Kill refuses.
func (*Process) Kill() error { return errLinux }

// Wait refuses.
func (*Process) Wait(context.Context) (Exit, error) { return Exit{}, errLinux }

// Descriptor refuses.
func (*Process) Descriptor() (*os.File, error) { return nil, errLinux }
