package haproxy

import (
	"fmt"
	"slices"
	"strings"

	parser "github.com/haproxytech/client-native/v5/config-parser"
	"github.com/haproxytech/client-native/v5/config-parser/options"

	"switchyard/router/haproxy"
)

// Render writes the configuration of a writer entrance. It goes through
// client-native's parser: each line must be one that it knows, and come back
// from it unchanged.
func Render(config haproxy.WriterConfig) (string, error) {
	sections, err := config.Sections()
	if err != nil {
		return "", err
	}
	text := haproxy.Text(sections)
	parsed, err := parser.New(options.NoNamedDefaultsFrom, options.String(text))
	if err != nil {
		return "", fmt.Errorf("haproxy: parse the configuration: %w", err)
	}
	for _, section := range sections {
		if err := allKnown(parsed, section); err != nil {
			return "", err
		}
	}
	written := strings.TrimSpace(parsed.String()) + "\n"
	if got, want := directives(written), directives(text); !slices.Equal(got, want) {
		return "", fmt.Errorf("haproxy: the configuration was parsed as %q and not as %q", got, want)
	}
	head := fmt.Sprintf("# The writer entrance of cluster %s, made by: switchyard haproxy config %s\n"+
		"# Try it with: haproxy -c -f FILE\n\n", config.Cluster, config.Cluster)
	return head + written, nil
}

// allKnown refuses a section with a line that only HAProxy itself could judge.
func allKnown(parsed parser.Parser, section haproxy.Section) error {
	name := section.Name
	if section.Kind == string(parser.Global) {
		name = parser.GlobalSectionName
	}
	// What no parser knows is kept under the empty attribute; an error says that
	// there is none.
	if unknown, err := parsed.Get(parser.Section(section.Kind), name, ""); err == nil {
		return fmt.Errorf("haproxy: section %s %s: unknown lines: %v", section.Kind, section.Name, unknown)
	}
	return nil
}

// directives returns the lines that mean something, in an order of its own: the
// parser groups a section's lines by what they set.
func directives(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}
