//go:build servers

package newcomer_test

import (
	"slices"
	"strings"
)

// block is the one that begins with a text.
func (g *guide) block(begins string) string {
	g.t.Helper()
	i := slices.IndexFunc(g.blocks, func(b string) bool { return strings.HasPrefix(strings.TrimSpace(b), begins) })
	if i < 0 {
		g.t.Fatalf("the README's section for newcomers has no block that begins with %q", begins)
	}
	g.used[g.blocks[i]] = true
	return g.blocks[i]
}

// line is a single command, of any block of the README.
func (g *guide) line(begins string) string {
	g.t.Helper()
	for _, block := range blocksOf(g.whole) {
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, begins) {
				command, _, _ := strings.Cut(line, "   #")
				return strings.TrimSpace(command)
			}
		}
	}
	g.t.Fatalf("the README has no command that begins with %q", begins)
	return ""
}

// says holds that a thing that is done without a block of its own is in the README's words.
func (g *guide) says(text string) string {
	g.t.Helper()
	if !strings.Contains(g.whole, "`"+text+"`") {
		g.t.Fatalf("the README does not say `%s`", text)
	}
	return text
}

// followed holds that nothing was left out.
func (g *guide) followed() {
	g.t.Helper()
	for _, block := range g.blocks {
		if !g.used[block] {
			g.t.Errorf("the README has this for newcomers, and it was not done:\n%s", block)
		}
	}
}
