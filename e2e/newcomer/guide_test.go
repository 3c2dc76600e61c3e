package newcomer_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"switchyard/e2e/stack"
)

const heading = "## From three empty machines\n"

// guide is what the README tells a newcomer to type: the blocks of its section for newcomers, each of which is used at
// least once, and what else it has.
type guide struct {
	t      *testing.T
	whole  string
	blocks []string
	used   map[string]bool
}

func readGuide(t *testing.T) *guide {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), heading)
	if !found {
		t.Fatalf("the README has no section %q", strings.TrimSpace(heading))
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return &guide{t: t, whole: string(text), blocks: blocksOf(section), used: map[string]bool{}}
}

// blocksOf are the indented blocks of a text, without the indentation.
func blocksOf(text string) (blocks []string) {
	var block strings.Builder
	for line := range strings.Lines(text + "\nend\n") {
		if inside, ok := strings.CutPrefix(line, "    "); ok {
			block.WriteString(inside)
		} else if block.Len() > 0 {
			blocks = append(blocks, block.String())
			block.Reset()
		}
	}
	return blocks
}

// grants are the README's statements for MariaDB.
func (g *guide) grants() []string {
	g.t.Helper()
	const begins, ends = "    -- MariaDB 10.11\n", "\n\n"
	_, after, found := strings.Cut(g.whole, begins)
	if !found {
		g.t.Fatalf("the README has no block with %q", begins)
	}
	block, _, _ := strings.Cut(after, ends)
	return statements(block)
}

// statements are those of a block of SQL.
func statements(block string) (list []string) {
	var sql strings.Builder
	for line := range strings.Lines(block) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			sql.WriteString(strings.TrimSpace(line) + " ")
		}
	}
	for statement := range strings.SplitSeq(sql.String(), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	return list
}

// sections are the top-level keys of a YAML text, each with all its lines.
func sections(text string) (list []string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#' && len(list) == 0:
		case line[0] != ' ' && line[0] != '#':
			list = append(list, line)
		default:
			list[len(list)-1] += line
		}
	}
	return list
}

func keyOf(section string) string {
	key, _, _ := strings.Cut(section, ":")
	return key
}

// edited is a configuration in which keys are given instead of what is there.
func edited(config, keys string) string {
	all := sections(config)
	for _, section := range sections(keys) {
		same := func(s string) bool { return keyOf(s) == keyOf(section) }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = section
		} else {
			all = append(all, section)
		}
	}
	return strings.Join(all, "")
}

// TestGrantsOfTheREADME: all other tests on real servers run with these, so that they are enough.
func TestGrantsOfTheREADME(t *testing.T) {
	plain := func(list []string) []string {
		var out []string
		for _, s := range list {
			out = append(out, strings.ReplaceAll(s, "`", ""))
		}
		return out
	}
	if said, given := plain(readGuide(t).grants()), plain(stack.Grants(stack.MariaDB)); !slices.Equal(said, given) {
		t.Errorf("the README says\n%s\nand tests run with\n%s", strings.Join(said, "\n"), strings.Join(given, "\n"))
	}
}

func TestEdited(t *testing.T) {
	got := edited("# first\nname: a\n# about b\nb:\n  - 1\n\n  - 2\nc: 3\n", "b: {x: 1}\nd:\n  - 4\n")
	if want := "name: a\n# about b\nb: {x: 1}\nc: 3\nd:\n  - 4\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
