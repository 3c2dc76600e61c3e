package guard

import (
	"fmt"

	"golang.org/x/sys/unix"

	"switchyard/sidecar/lease"
)

// BootClock returns a clock that runs on while the host is suspended.
func BootClock() (func() lease.Instant, error) {
	read := func() (lease.Instant, error) {
		var t unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
		return lease.Instant(t.Nano()), err
	}
	if _, err := read(); err != nil {
		return nil, fmt.Errorf("the clock that runs through suspend: %w", err)
	}
	return func() lease.Instant {
		now, _ := read() // who could be read once cannot fail
		return now
	}, nil
}
