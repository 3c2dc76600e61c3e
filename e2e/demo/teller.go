package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"switchyard/controller/ctl"
)

// teller writes the story. The first failure to write is kept and ends the demo with an error.
type teller struct {
	out   io.Writer
	begun time.Time
	err   error
}

func (t *teller) print(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}

// progress is a line with the time since the beginning.
func (t *teller) progress(format string, args ...any) {
	t.print("%7.2fs  %s\n", time.Since(t.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (t *teller) heading(text string) { t.print("\n== %s\n", text) }

// phases prints the phases in the order in which a recovery goes through them.
func (t *teller) phases(phases map[string]float64) {
	names := slices.SortedFunc(maps.Keys(phases), ctl.ComparePhases)
	t.print("\nphases, notice being from the fault on:")
	for _, name := range names {
		t.print("  %s %.0f ms", name, phases[name])
	}
	t.print("\n")
}

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", inMilliseconds(d)) }

func offset(d time.Duration) string { return fmt.Sprintf("%+.1f ms", inMilliseconds(d)) }
