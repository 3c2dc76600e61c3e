package scenario

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPairs holds that each miss differs from its scenario in one fact only,
// and in what comes out.
func TestPairs(t *testing.T) {
	byName := map[string]scenario{}
	for _, s := range scenarios(t) {
		byName[s.name()] = s
	}
	for name, s := range byName {
		base, isMiss := strings.CutSuffix(name, miss)
		if !isMiss {
			if _, ok := byName[name+miss]; !ok {
				t.Errorf("%s has no nearest miss", name)
			}
			continue
		}
		hit, ok := byName[base]
		if !ok {
			t.Errorf("%s is the miss of nothing", name)
			continue
		}
		if hit.after == s.after {
			t.Errorf("%s comes out like %s", name, base)
		}
		if facts := changed(hit.drawn, s.drawn); len(facts) != 1 {
			t.Errorf("%s differs from %s in %d facts, want one: %q", name, base, len(facts), facts)
		}
	}
}

// changed returns the facts in which two drawings differ. The same change in
// many lines (all observers see it) is one fact.
func changed(a, b string) []string {
	was, is := facts(a), facts(b)
	if len(was) != len(is) {
		return lineFacts(was, is)
	}
	var out []string
	for n := range was {
		for _, fact := range wordFacts(was[n], is[n]) {
			if !slices.Contains(out, fact) {
				out = append(out, fact)
			}
		}
	}
	return out
}

// facts are the words of each line that says something.
func facts(drawn string) [][]string {
	var out [][]string
	for _, line := range strings.Split(drawn, "\n") {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "#") {
			out = append(out, words)
		}
	}
	return out
}

// wordFacts says which words of a line became which others.
func wordFacts(was, is []string) []string {
	gone, come := without(was, is), without(is, was)
	var out []string
	for n := range max(len(gone), len(come)) {
		out = append(out, strings.Join(gone[min(n, len(gone)):min(n+1, len(gone))], "")+" became "+
			strings.Join(come[min(n, len(come)):min(n+1, len(come))], ""))
	}
	return out
}

// lineFacts are the lines that only one of two drawings has.
func lineFacts(was, is [][]string) []string {
	text := func(lines [][]string) []string {
		out := make([]string, 0, len(lines))
		for _, words := range lines {
			out = append(out, strings.Join(words, " "))
		}
		return out
	}
	return append(without(text(was), text(is)), without(text(is), text(was))...)
}

func without(these, those []string) []string {
	left := map[string]int{}
	for _, w := range those {
		left[w]++
	}
	var out []string
	for _, w := range these {
		if left[w] > 0 {
			left[w]--
			continue
		}
		out = append(out, w)
	}
	return out
}

func TestChanged(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"server m", "server m", 0},
		{"view c1 m=ok\nview c2 m=ok", "view c1 m=refused\nview c2 m=refused", 1},
		{"view c1 m=ok\nview c2 m=ok", "view c1 m=refused\nview c2 m=hung", 2},
		{"server m a=1", "server m", 1},
		{"server m a=1 b=1", "server m a=2 b=2", 2},
		{"server m", "server m\nserver r", 1},
		{"server m\nserver a", "server m\nserver b\nserver c", 3},
		{"# one\nserver m", "# two\nserver m", 0},
	} {
		if got := changed(c.a, c.b); len(got) != c.want {
			t.Errorf("%q and %q: %q, want %d facts", c.a, c.b, got, c.want)
		}
	}
}

// TestEveryCodeHasAPair holds that every finding, warning and reason to hold
// that the packages export comes out of one scenario of a pair and not of the
// other, which differs in one fact.
func TestEveryCodeHasAPair(t *testing.T) {
	shown := map[string]bool{}
	all := map[string]map[string]bool{}
	for _, s := range scenarios(t) {
		all[s.name()] = codes(s.after)
	}
	for name, found := range all {
		missed, paired := all[name+miss]
		if !paired {
			continue
		}
		for _, code := range slices.Concat(slices.Collect(maps.Keys(found)), slices.Collect(maps.Keys(missed))) {
			if found[code] != missed[code] {
				shown[code] = true
			}
		}
	}
	for _, from := range []struct{ label, folder, kind string }{
		{"", "../analysis", "Kind"}, {"hold ", "../safety", "Code"},
	} {
		for _, code := range constants(t, from.folder, from.kind) {
			if code = from.label + code; !shown[code] {
				t.Errorf("%s: no scenario shows it with a nearest miss that does not", code)
			}
		}
	}
}

// codes are what a recorded outcome names: findings and warnings by their
// names, reasons to hold after the word hold.
func codes(after string) map[string]bool {
	out := map[string]bool{}
	for _, line := range strings.Split(after, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(line, " ") {
			continue
		}
		switch words[0] {
		case "finding", "other", "warning":
			out[words[1]] = true
		case "hold":
			out["hold "+strings.TrimSuffix(words[1], ":")] = true
		}
	}
	return out
}

// constants are the values of all constants of a type that a package exports.
func constants(t *testing.T, folder, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != kind || len(spec.Values) != 1 {
				return true
			}
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, text)
			}
			return true
		})
	}
	if len(out) < 5 {
		t.Fatalf("%s has only %d constants of type %s", folder, len(out), kind)
	}
	return out
}
