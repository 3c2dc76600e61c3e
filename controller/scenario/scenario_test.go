package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var record = flag.Bool("record", false, "write what comes out into the scenarios")

const (
	divider = "---\n"
	miss    = "-miss"
)

// scenario is one file of testdata.
type scenario struct {
	path         string
	drawn, after string
}

func (s scenario) name() string { return strings.TrimSuffix(filepath.Base(s.path), ".txt") }

func scenarios(t *testing.T) []scenario {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	var out []scenario
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		drawn, after, divided := strings.Cut(string(content), divider)
		if !divided && !*record {
			t.Errorf("%s has no line of three dashes: run with -record", path)
		}
		out = append(out, scenario{path: path, drawn: drawn, after: after})
	}
	return out
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name(), func(t *testing.T) {
			if !strings.HasPrefix(s.drawn, "# ") {
				t.Error("it begins with a comment that says what it shows")
			}
			w, err := readWorld(s.drawn)
			if err != nil {
				t.Fatal(err)
			}
			got := judge(w)
			if got == s.after {
				return
			}
			if *record {
				if err := os.WriteFile(s.path, []byte(s.drawn+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("it comes out otherwise than recorded\n%s", difference(s.after, got))
		})
	}
}

// difference lists the lines that are in one text only.
func difference(old, now string) string {
	var out strings.Builder
	before, after := strings.Split(old, "\n"), strings.Split(now, "\n")
	for _, line := range before {
		if !slices.Contains(after, line) {
			fmt.Fprintf(&out, "- %s\n", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			fmt.Fprintf(&out, "+ %s\n", line)
		}
	}
	if out.Len() == 0 {
		return "the same lines in another order"
	}
	return out.String()
}
