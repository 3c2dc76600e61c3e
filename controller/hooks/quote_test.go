package hooks

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// quotings are commands that print the failed host from within every state of
// quoting that the scanner follows.
var quotings = map[string]string{
	"unquoted":                                   `printf %s {failedHost}`,
	"within a word":                              `printf %s a{failedHost}b`,
	"in double quotes":                           `printf %s "{failedHost}"`,
	"in single quotes":                           `printf %s '{failedHost}'`,
	"in single quotes, within a word":            `printf %s 'a{failedHost}b'`,
	"in double quotes, with quotes around":       `printf %s "'{failedHost}'"`,
	"in single quotes, with quotes around":       `printf %s '"{failedHost}"'`,
	"in a substitution":                          `printf %s "$(printf %s {failedHost})"`,
	"in double quotes in a substitution":         `printf %s "$(printf %s "{failedHost}")"`,
	"in single quotes in a substitution":         `printf %s "$(printf %s '{failedHost}')"`,
	"in a substitution in a substitution":        `printf %s "$(printf %s "$(printf %s '{failedHost}')")"`,
	"in a subshell in a substitution":            `printf %s "$( (printf %s {failedHost}); (true) )"`,
	"in backticks":                               "x=`printf %s {failedHost}`; printf %s \"$x\"",
	"in double quotes in backticks":              "x=`printf %s \"{failedHost}\"`; printf %s \"$x\"",
	"in single quotes in backticks":              "x=`printf %s '{failedHost}'`; printf %s \"$x\"",
	"in backticks in double quotes":              "printf %s \"`printf %s {failedHost}`\"",
	"in single quotes in backticks in quotes":    "printf %s \"`printf %s '{failedHost}'`\"",
	"behind an arithmetic expansion":             `printf %s$((1)) {failedHost}`,
	"behind ${...} and an escaped quote":         `printf %s "\"${HOME}" \' {failedHost}`,
	"behind a comment with a quote":              "true # don't\nprintf %s '{failedHost}'",
	"behind a number sign that is no comment":    `printf %s a#'b' {failedHost}`,
	"in an assignment":                           `x={failedHost}; printf %s "$x"`,
	"in an assignment, quoted, within a word":    `x='a'{failedHost}"b"; printf %s "$x"`,
	"in a condition":                             `if true; then printf %s {failedHost}; fi`,
	"in a case at the top":                       `case x in x) printf %s "{failedHost}";; esac`,
	"behind a brace that is no placeholder":      `{ printf %s ' { } ${x}{}' {failedHost}; }`,
	"behind a variable of the shell with braces": `x=1; printf %s "${x}" '${failedHost}' {failedHost}`,
	"in a nested shell's text, by argument":      `sh -c 'printf %s "$1"' sh {failedHost}`,
}

// expected is what the command prints.
func expected(command, value string) string {
	switch {
	case strings.Contains(command, "a{"), strings.Contains(command, "'a'{"):
		return "a" + value + "b"
	case strings.Contains(command, `"'{`):
		return "'" + value + "'"
	case strings.Contains(command, `'"{`):
		return `"` + value + `"`
	case strings.Contains(command, "$((1))"):
		return value + "1"
	case strings.Contains(command, `\'`):
		return `"/home'` + value
	case strings.Contains(command, "a#"):
		return "a#b" + value
	case strings.Contains(command, "' { }"):
		return " { } ${x}{}" + value
	case strings.Contains(command, "${failedHost}"):
		return "1${failedHost}" + value
	}
	return value
}

// shells are those of this machine in which hooks may be run.
func shells(t *testing.T) []string {
	var out []string
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		if _, err := exec.LookPath(shell); err == nil {
			out = append(out, shell)
		}
	}
	if len(out) == 0 {
		t.Fatal("there is no /bin/sh")
	}
	return out
}

// prints runs a compiled command with a value, and checks what comes out. A
// substitution of the shell strips newlines from the end, which is no concern here.
func prints(t interface{ Fatalf(string, ...any) }, shell, name, command, value string) {
	script, err := compile(command)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	cmd := exec.Command(shell, "-c", script)
	cmd.Env = []string{"SWITCHYARD_FAILED_HOST=" + value, "HOME=/home", "PATH=/usr/bin:/bin"}
	got, err := cmd.CombinedOutput()
	if err != nil || string(got) != expected(command, value) {
		t.Fatalf("%s, %s: %s became %s and printed %q for %q, %v", shell, name, command, script, got, value, err)
	}
}

// Whatever the value, also one that no hook would be given, the shell hands it on
// as it is, in every state of quoting.
func TestValuesAreHandedOnAsTheyAre(t *testing.T) {
	values := []string{
		"db-1.example", "2001:db8::1", "a;touch /tmp/x", "$(id)", "`id`", "a'b", `a"b`, `a\b`, `\`, "a b  c", "*", "[a-z]*",
		"$HOME", "${HOME}", "-n", "", "~", "!x", "&", "a|b", ">x", "#x", "é", "a\nb", "'; touch x; '", `"; touch x; "`, "%s%d", "{failedHost}",
	}
	for _, shell := range shells(t) {
		for name, command := range quotings {
			for _, value := range values {
				prints(t, shell, name, command, value)
			}
		}
	}
}

func TestRandomValuesInRandomQuoting(t *testing.T) {
	names := make([]string, 0, len(quotings))
	for name := range quotings {
		names = append(names, name)
	}
	shells := shells(t)
	allowed := rapid.StringOfN(rapid.RuneFrom([]rune("abzAZ09._-:[]@/,")), 0, 40, -1)
	hostile := rapid.StringOfN(rapid.RuneFrom([]rune("a \t'\"`$(){}[]\\;&|<>*?!#~%=-\n")), 0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(allowed, hostile).Draw(t, "value")
		value = strings.TrimRight(value, "\n")
		name := rapid.SampledFrom(names).Draw(t, "quoting")
		prints(t, rapid.SampledFrom(shells).Draw(t, "shell"), name, quotings[name], value)
	})
}

// Any text at all becomes a refusal or a script in which no placeholder is left
// where the shell would read it as text of a program.
func TestRandomCommandsNeverPanic(t *testing.T) {
	part := rapid.SampledFrom([]string{
		"'", `"`, "`", "$(", ")", "(", "{failedHost}", "{nobody}", "${x}", "${x:-'a'}", "\\", "#", " ", "\n", "<<E", "case ", "$'", "a", "$",
	})
	rapid.Check(t, func(t *rapid.T) {
		command := strings.Join(rapid.SliceOfN(part, 0, 12).Draw(t, "parts"), "")
		script, err := compile(command)
		if err != nil {
			if err.Error() == "" || script != "" {
				t.Fatalf("%q: %q, %v", command, script, err)
			}
			return
		}
		if !strings.Contains(command, "{failedHost}") && script != command {
			t.Fatalf("%q became %q", command, script)
		}
	})
}

func TestRefusedCommands(t *testing.T) {
	for _, tc := range []struct{ command, want string }{
		{"", "is empty"},
		{" \n", "is empty"},
		{"echo \x00", "NUL byte"},
		{"echo {failedhost}", "there is no placeholder {failedhost}; correct its name"},
		{"awk '{print}'", "put a space behind the brace"},
		{"echo '{failedHost}", "ends within single quotes"},
		{`echo "{failedHost}`, "ends within double quotes"},
		{"echo $(echo {failedHost}", "ends within $("},
		{"echo `echo {failedHost}", "ends within backticks"},
		{"cat <<E\n{failedHost}\nE", "here-document"},
		{"echo $(case x in x) echo {failedHost};; esac)", "case within a substitution"},
		{"echo `echo \\`{failedHost}\\``", "backslash within backticks"},
		{"echo `echo \"`{failedHost}`\"`", "backtick within quotes within backticks"},
		{"echo $(echo # )\n{failedHost})", "comment within a substitution"},
		{"echo $'\\'' {failedHost}", `$' or $"`},
		{"echo ${x:-{failedHost}}", "expansions within ${...}"},
		{`echo "${x:-"y"}" {failedHost}`, "expansions within ${...}"},
	} {
		if err := Check(tc.command); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: want %q, got %v", tc.command, tc.want, err)
		}
	}
	for _, command := range []string{
		"/usr/local/bin/hook", "cat <<E\nit's {odd}\nE", "echo ${x:-'y'}", `ssh db "echo \${HOME} {failedHost}"`,
		"awk '{ print $1 }'", "echo {a,b} {}", "echo \\{nobody}",
	} {
		if err := Check(command); err != nil {
			t.Errorf("%q: %v", command, err)
		}
	}
}
