package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{5}, 5}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 3, 1, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// A program that fails ends the measurement, with what it said.
func TestFailuresAreNotFigures(t *testing.T) {
	var out, progress bytes.Buffer
	for _, args := range [][]string{{"-runs", "0"}, {"-proxies", "many"}, {"-colour"}, {"-binary", "/bin/false"}, {"-binary", "/bin/true"}} {
		if err := run(t.Context(), args, &out, &progress); err == nil {
			t.Errorf("%v gave figures", args)
		}
	}
	if strings.TrimSpace(out.String()) != "" {
		t.Errorf("figures were written: %s", out.String())
	}
}
