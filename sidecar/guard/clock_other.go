//go:build !linux

package guard

import (
	"errors"

	"switchyard/sidecar/lease"
)

// BootClock refuses.
func BootClock() (func() lease.Instant, error) {
	return nil, errors.New("the sidecar beside a database needs Linux, for a clock that runs through suspend")
}
