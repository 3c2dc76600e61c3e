package traffic

import (
	"regexp"
	"strings"
)

// kind is what a statement means to the proxy itself.
type kind int

const (
	plain     kind = iota // goes to a server
	endOfWork             // COMMIT or ROLLBACK: goes to a server only when there is work to end
	setNames              // the rest: answered here, passed on with the next statement that goes to a server
	autocommit
	use
	connectionID
	kill
)

type statement struct {
	kind kind
	// value is the character set, the schema, the session to kill, or "1" or "0" for autocommit.
	value string
	// sticks tells that the session's state on the server counts from now on.
	sticks bool
}

var (
	leading      = regexp.MustCompile(`^(?s:\s|/\*.*?\*/|(?:--\s|#)[^\n]*\n)*`)
	endPattern   = regexp.MustCompile(`(?i)^(?:COMMIT|ROLLBACK)(?:\s+WORK)?$`)
	namesPattern = regexp.MustCompile(`(?i)^SET\s+NAMES\s+(.+)$`)
	autoPattern  = regexp.MustCompile(`(?i)^SET\s+(?:@@)?(?:(?:SESSION|LOCAL)[\s.]+)?AUTOCOMMIT\s*:?=\s*(0|1|ON|OFF|TRUE|FALSE)$`)
	usePattern   = regexp.MustCompile("(?i)^USE\\s+`?([^`\\s]+)`?$")
	idPattern    = regexp.MustCompile(`(?i)^SELECT\s+CONNECTION_ID\(\s*\)$`)
	killPattern  = regexp.MustCompile(`(?i)^KILL\s+(?:CONNECTION\s+)?(\d+)$`)
	setPattern   = regexp.MustCompile(`(?i)^SET\s`)
	// By its documentation a system variable ties the session too, but for those that all servers agree on.
	systemVariable = regexp.MustCompile(`@@(?i:(?:SESSION|GLOBAL|LOCAL)\.)?(\w+)`)
	// A user variable is an @ that neither another @ nor a word precedes or follows; an address in a text has a word.
	userVariable = regexp.MustCompile("(?:^|[^@\\w'\"`.])@[\\w$'\"`]")
	stateful     = regexp.MustCompile(`(?i)^(?:CREATE\s+TEMPORARY\s|LOCK\s+TABLE|FLUSH\s+TABLES\s+WITH\s|PREPARE\s)|\bGET_LOCK\s*\(|\bSQL_CALC_FOUND_ROWS\b`)
)

// read tells what a statement means to the proxy.
func read(query string) statement {
	text := strings.TrimRight(query[len(leading.FindString(query)):], "; \t\r\n")
	if endPattern.MatchString(text) {
		return statement{kind: endOfWork}
	}
	for _, own := range []struct {
		pattern *regexp.Regexp
		kind    kind
	}{{namesPattern, setNames}, {usePattern, use}, {killPattern, kill}} {
		if m := own.pattern.FindStringSubmatch(text); m != nil {
			return statement{kind: own.kind, value: m[1]}
		}
	}
	if m := autoPattern.FindStringSubmatch(text); m != nil {
		switch strings.ToUpper(m[1]) {
		case "1", "ON", "TRUE":
			return statement{kind: autocommit, value: "1"}
		default:
			return statement{kind: autocommit, value: "0"}
		}
	}
	if idPattern.MatchString(text) {
		return statement{kind: connectionID}
	}
	return statement{sticks: setPattern.MatchString(text) || userVariable.MatchString(text) || stateful.MatchString(text) ||
		readsSystemVariable(text)}
}

func readsSystemVariable(text string) bool {
	for _, m := range systemVariable.FindAllStringSubmatch(text, -1) {
		switch strings.ToLower(m[1]) {
		case "version", "tx_isolation", "transaction_isolation":
		default:
			return true
		}
	}
	return false
}
