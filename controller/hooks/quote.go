package hooks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A value is never put into the text of a command: a placeholder becomes a
// reference to a variable, and what comes out of a variable is not read as a
// program again. Only how the reference must be quoted depends on where the
// placeholder stands, and that is what the scanner follows. Where it cannot, it
// refuses.

// state is what the text at one point of a command is within.
type state int

const (
	plain state = iota
	singleQuotes
	doubleQuotes
	substitution // $( ... )
	backticks
)

// scanner walks over a command once.
type scanner struct {
	text string
	at   int
	out  strings.Builder
	// stack has what the present text is within, the outermost first; it is never
	// empty. parens counts the parentheses that are open within each.
	stack  []state
	parens []int
	// word is where the present word of unquoted text begins; -1 outside of one.
	word int
	// doubt is why placeholders cannot be told apart in this command.
	doubt error
}

// Check says why a command cannot be run as a hook.
func Check(command string) error {
	_, err := compile(command)
	return err
}

// compile returns command with references to variables for its placeholders.
func compile(command string) (string, error) {
	switch {
	case strings.TrimSpace(command) == "":
		return "", errors.New("the command is empty")
	case strings.ContainsRune(command, 0):
		return "", errors.New("the command has a NUL byte")
	}
	s := &scanner{text: command, stack: []state{plain}, parens: []int{0}, word: -1}
	err := s.walk()
	switch {
	case s.doubt != nil && !mentions(command):
		// There is nothing to replace in what could not be followed.
		return command, nil
	case s.doubt != nil:
		return "", s.doubt
	case err != nil:
		return "", err
	}
	return s.out.String(), nil
}

// mentions reports whether a placeholder stands anywhere in command.
func mentions(command string) bool {
	for name := range placeholders() {
		if strings.Contains(command, "{"+name+"}") {
			return true
		}
	}
	return false
}

func (s *scanner) walk() error {
	for s.at < len(s.text) {
		if err := s.step(); err != nil {
			return err
		}
	}
	if len(s.stack) > 1 {
		return fmt.Errorf("the command ends within %s", s.state())
	}
	return nil
}

func (s state) String() string {
	return [...]string{"plain text", "single quotes", "double quotes", "$(", "backticks"}[s]
}

func (s *scanner) state() state { return s.stack[len(s.stack)-1] }

func (s *scanner) push(in state) {
	s.stack, s.parens, s.word = append(s.stack, in), append(s.parens, 0), -1
}

func (s *scanner) pop() {
	s.stack, s.parens, s.word = s.stack[:len(s.stack)-1], s.parens[:len(s.parens)-1], s.at
}

// take copies n bytes.
func (s *scanner) take(n int) {
	n = min(n, len(s.text)-s.at)
	s.out.WriteString(s.text[s.at : s.at+n])
	s.at += n
}

// doubtful remembers the first reason why quoting cannot be followed.
func (s *scanner) doubtful(what, remedy string) {
	if s.doubt == nil {
		s.doubt = fmt.Errorf("a command with placeholders may have no %s; %s", what, remedy)
	}
}

func (s *scanner) starts(prefix string) bool { return strings.HasPrefix(s.text[s.at:], prefix) }

func (s *scanner) step() error {
	if s.text[s.at] == '{' {
		done, err := s.placeholder()
		if done || err != nil {
			return err
		}
	}
	switch s.state() {
	case singleQuotes:
		if s.text[s.at] == '\'' {
			s.take(1)
			s.pop()
			return nil
		}
		s.take(1)
	case doubleQuotes:
		s.quoted()
	default:
		s.unquoted()
	}
	return nil
}

// placeholder replaces what begins here if it is one. Behind a dollar it is a
// variable of the shell, also where that dollar is for a shell further on.
func (s *scanner) placeholder() (bool, error) {
	name, _, ended := strings.Cut(s.text[s.at+1:], "}")
	if !ended || name == "" || strings.ContainsFunc(name, notLetter) || s.at > 0 && s.text[s.at-1] == '$' {
		return false, nil
	}
	suffix, known := placeholders()[name]
	if !known {
		return false, fmt.Errorf("there is no placeholder {%s}; correct its name, or put a space behind the brace "+
			"if it is not meant as one", name)
	}
	reference := "${" + variableOf(suffix) + "}"
	switch s.state() {
	case singleQuotes:
		reference = `'"` + reference + `"'`
	case doubleQuotes:
	default:
		reference = `"` + reference + `"`
		s.word = s.at
	}
	s.out.WriteString(reference)
	s.at += len(name) + 2
	return true, nil
}

func notLetter(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// quoted goes on within double quotes.
func (s *scanner) quoted() {
	switch c := s.text[s.at]; {
	case c == '"':
		s.take(1)
		s.pop()
	case c == '\\' && s.at+1 < len(s.text) && strings.IndexByte("$`\"\\\n", s.text[s.at+1]) >= 0:
		s.backslash()
	case c == '$' || c == '`':
		s.expansion()
	default:
		s.take(1)
	}
}

// unquoted goes on in plain text, at the top or within a substitution.
func (s *scanner) unquoted() {
	c := s.text[s.at]
	begins := s.word < 0
	if strings.IndexByte(" \t\n;&|<>()", c) >= 0 {
		s.endWord()
	} else if begins {
		s.word = s.at
	}
	switch {
	case c == '\\':
		s.backslash()
	case c == '\'':
		s.take(1)
		s.push(singleQuotes)
	case c == '"':
		s.take(1)
		s.push(doubleQuotes)
	case c == '#' && begins:
		// A comment: what looks like a quote or a placeholder there is none.
		end := strings.IndexByte(s.text[s.at:], '\n')
		if end < 0 {
			end = len(s.text) - s.at
		}
		if slices.Contains(s.stack, substitution) || slices.Contains(s.stack, backticks) {
			s.doubtful("comment within a substitution", "leave it out")
		}
		s.take(end)
		s.word = -1
	case s.starts("<<"):
		s.doubtful("here-document (<<)", "put it into a script of its own, which finds all in its environment")
		s.take(2)
	case c == '$' || c == '`':
		s.expansion()
	case c == '(':
		s.parens[len(s.parens)-1]++
		s.take(1)
	case c == ')' && s.state() == substitution && s.parens[len(s.parens)-1] == 0:
		s.take(1)
		s.pop()
	case c == ')':
		s.parens[len(s.parens)-1]--
		s.take(1)
	default:
		s.take(1)
	}
}

// endWord looks at the word that ends here: the patterns of a case have
// parentheses that were never opened.
func (s *scanner) endWord() {
	if s.word >= 0 && s.text[s.word:s.at] == "case" && s.state() != plain {
		s.doubtful("case within a substitution", "put it into a script of its own")
	}
	s.word = -1
}

func (s *scanner) backslash() {
	if slices.Contains(s.stack, backticks) {
		s.doubtful("backslash within backticks", "write $( ... ) in their place")
	}
	s.take(2)
}

// expansion goes on at a dollar or a backtick.
func (s *scanner) expansion() {
	switch {
	case s.starts("`") && s.state() == backticks:
		s.take(1)
		s.pop()
	case s.starts("`") && slices.Contains(s.stack, backticks):
		// Whether it ends the outer ones depends on the shell.
		s.doubtful("backtick within quotes within backticks", "write $( ... ) in their place")
		s.take(1)
	case s.starts("`"):
		s.take(1)
		s.push(backticks)
	case s.starts("$("):
		s.take(2)
		s.push(substitution)
	case s.starts("${"):
		s.parameter()
	case (s.starts("$'") || s.starts(`$"`)) && s.state() != doubleQuotes:
		s.doubtful("$' or $\"", "not every shell knows it; use plain quotes")
		s.take(1)
	default:
		s.take(1)
	}
}

// parameter takes ${...} as a whole.
func (s *scanner) parameter() {
	body, _, ended := strings.Cut(s.text[s.at+2:], "}")
	if !ended || strings.ContainsAny(body, "\"'`\\${") {
		s.doubtful("quotes or expansions within ${...}", "put them into a variable first")
		s.take(2)
		return
	}
	s.take(len(body) + 3)
}
