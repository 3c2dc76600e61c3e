//go:build !linux

package tie

import (
	"errors"

	"switchyard/sidecar/guard"
)

// errLinux: pidfds are Linux's.
var errLinux = errors.New("tying a server to its sidecar needs Linux, to hold on to its process")

func (*Tie) start(guard.Process) error { return errLinux }

func (*Tie) reap() {}

// Watch refuses.
func Watch(int) error { return errLinux }
