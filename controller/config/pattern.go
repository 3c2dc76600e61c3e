package config

import (
	"fmt"
	"regexp"
)

// Pattern is an optional regular expression.
type Pattern struct{ re *regexp.Regexp }

// Regexp returns the expression; nil where none was given.
func (p Pattern) Regexp() *regexp.Regexp { return p.re }

// String returns the expression as it was given.
func (p Pattern) String() string {
	if p.re == nil {
		return ""
	}
	return p.re.String()
}

// MarshalText writes what String returns.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText compiles the expression; an empty text is none.
func (p *Pattern) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Pattern{}
		return nil
	}
	re, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("wants a regular expression: %w", err)
	}
	p.re = re
	return nil
}

// Filter matches whole cluster names.
type Filter struct {
	text string
	re   *regexp.Regexp
}

// Match reports whether the filter is for the cluster.
func (f Filter) Match(cluster string) bool { return f.re != nil && f.re.MatchString(cluster) }

// String returns the filter as it was given.
func (f Filter) String() string { return f.text }

// MarshalText writes what String returns.
func (f Filter) MarshalText() ([]byte, error) { return []byte(f.text), nil }

// UnmarshalText compiles a regular expression that is to match a whole name;
// "*" matches every name.
func (f *Filter) UnmarshalText(text []byte) error {
	source := string(text)
	switch source {
	case "":
		return fmt.Errorf("is empty: want a regular expression, or '*' for every cluster")
	case "*":
		source = ".*"
	}
	// Compiled alone first: "a)(b" would be valid inside the anchors.
	if _, err := regexp.Compile(source); err != nil {
		return fmt.Errorf("wants a regular expression, or '*' for every cluster: %w", err)
	}
	re, err := regexp.Compile("^(?:" + source + ")$")
	if err != nil {
		return fmt.Errorf("wants a regular expression, or '*' for every cluster: %w", err)
	}
	*f = Filter{text: string(text), re: re}
	return nil
}
