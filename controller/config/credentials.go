package config

import (
	"errors"
	"strings"
)

// credentials reads user and password from the [client] section of an option
// file, by the servers' own rules for quotes, escapes and comments.
func credentials(data []byte) (user string, password Secret, err error) {
	section, found := "", false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || strings.ContainsAny(line[:1], "#;!") {
			continue
		}
		if line[0] == '[' {
			section, _, _ = strings.Cut(line[1:], "]")
			found = found || section == "client"
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		if section != "client" {
			continue
		}
		switch strings.TrimSpace(key) {
		case "user":
			user = optionValue(value)
		case "password":
			password = Secret(optionValue(value))
		}
	}
	switch {
	case !found:
		return "", "", errors.New("has no [client] section; give it one with user= and password=")
	case user == "":
		return "", "", errors.New("has no user in its [client] section; add user=NAME")
	case password == "":
		return "", "", errors.New("has no password in its [client] section; add password=TEXT")
	}
	return user, password, nil
}

// optionValue takes quotes, escapes and a comment at the end off a value.
func optionValue(text string) string {
	text = strings.TrimSpace(text)
	var quote byte
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		quote, text = text[0], text[1:]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteString(unescape(text[i]))
		case quote != 0 && c == quote:
			return b.String()
		case quote == 0 && c == '#':
			return strings.TrimSpace(b.String())
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(c byte) string {
	switch c {
	case 'b':
		return "\b"
	case 't':
		return "\t"
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 's':
		return " "
	case '\\', '"', '\'':
		return string(c)
	default:
		return "\\" + string(c)
	}
}
