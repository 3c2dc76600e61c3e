//go:build servers && matrix

package matrix_test

import (
	"flag"
	"testing"

	"switchyard/e2e/matrix"
	"switchyard/e2e/stack"
)

// The whole. It takes most of an hour, and is asked for by `make matrix`; the figures go into the file that is named after -args.
func TestMatrix(t *testing.T) {
	var report matrix.Report
	played := 0
	t.Run("cells", func(t *testing.T) {
		for _, c := range cells() {
			t.Run(c.String(), func(t *testing.T) {
				played++
				report.Cells = append(report.Cells, play(c.world(t), c))
			})
		}
	})
	t.Run("stories", func(t *testing.T) {
		for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
			for _, s := range append(stories(), sidecarStories()...) {
				t.Run(string(flavor)+" "+s.name, func(t *testing.T) {
					played++
					playStory(t, s, flavor)
				})
			}
		}
	})
	t.Run("gaps", func(t *testing.T) {
		for _, c := range gaps() {
			t.Run(c.String(), func(t *testing.T) {
				played++
				gap, rest := measure(t, c)
				report.Gaps, report.Rest = append(report.Gaps, gap), append(report.Rest, rest...)
			})
		}
	})
	if played == 0 {
		t.Error("what was asked for names no cell, story or gap")
	}
	if file := flag.Arg(0); file != "" {
		if err := report.Write(file); err != nil {
			t.Error(err)
		}
	}
}
