package dialect

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Quote writes value as a string literal. Quotes and backslashes are both
// doubled: so the literal ends where it should whatever the session's sql_mode
// is, NO_BACKSLASH_ESCAPES included (there a backslash would arrive twice,
// which is why our sessions empty their sql_mode). What names the value, and is
// for the error alone, which does not repeat the value: it may be a password.
func Quote(what, value string) (string, error) {
	if !utf8.ValidString(value) {
		return "", fmt.Errorf("%s: want valid UTF-8", what)
	}
	if strings.ContainsAny(value, "\x00\n\r\x1a") {
		return "", fmt.Errorf("%s: want neither NUL, line breaks nor control-Z in it", what)
	}
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(value) + "'", nil
}
