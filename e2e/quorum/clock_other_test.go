//go:build servers && !(linux && amd64)

package quorum_test

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

var errInside = errors.New("it stopped while it asked for the time")

// setClock is machine code, and written for another machine.
func setClock(int, time.Duration) error {
	return fmt.Errorf("a process's own clock on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}
