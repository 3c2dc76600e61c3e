package admin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/mattn/go-sqlite3"
)

var (
	movePattern = regexp.MustCompile(`(?i)^(LOAD|SAVE)\s+(MYSQL|PROXYSQL|ADMIN)\s+(SERVERS|USERS|VARIABLES)\s+(TO|FROM)\s+(RUNTIME|RUN|MEMORY|MEM|DISK)$`)
	killPattern = regexp.MustCompile(`(?i)^KILL\s+(?:CONNECTION\s+)?(\d+)$`)
	setPattern  = regexp.MustCompile(`(?i)^SET\s+(?:GLOBAL\s+)?((?:mysql|admin)-\w+)\s*=\s*(.*)$`)
	showPattern = regexp.MustCompile(`(?i)^SELECT\s+@@((?:mysql|admin)-\w+)$`)
	// Clients say these on their own account; there is nothing to do.
	noise   = regexp.MustCompile(`(?i)^(?:SET\s+(?:NAMES|SESSION|AUTOCOMMIT|CHARACTER|SQL_|@@)|USE\s|COMMIT$|ROLLBACK$)`)
	version = regexp.MustCompile(`(?i)^SELECT\s+(@@version(?:_comment)?|version\(\))(?:\s+LIMIT\s+1)?$`)
	reading = regexp.MustCompile(`(?i)^(?:SELECT|WITH|PRAGMA|EXPLAIN)\b`)
	comment = regexp.MustCompile(`^(?s:\s|/\*.*?\*/)*`)
)

// direction tells the layers of a LOAD or SAVE statement. LOAD leads towards runtime, SAVE towards disk, and every
// step can be named by either of its ends.
func direction(verb, preposition, layer string) (from, to string, ok bool) {
	layer = strings.ToLower(layer)
	switch {
	case strings.HasPrefix(layer, "run"):
		layer = "runtime"
	case strings.HasPrefix(layer, "mem"):
		layer = "memory"
	}
	switch strings.ToUpper(verb + " " + preposition + " " + layer) {
	case "LOAD TO RUNTIME", "LOAD FROM MEMORY":
		return "memory", "runtime", true
	case "LOAD FROM DISK", "LOAD TO MEMORY":
		return "disk", "memory", true
	case "SAVE TO MEMORY", "SAVE FROM RUNTIME":
		return "runtime", "memory", true
	case "SAVE TO DISK", "SAVE FROM MEMORY":
		return "memory", "disk", true
	default:
		return "", "", false
	}
}

// Execute runs one statement of an administrator.
func (a *Admin) Execute(ctx context.Context, query string) (*mysql.Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := strings.TrimRight(query[len(comment.FindString(query)):], "; \t\r\n")
	result, err := a.execute(ctx, text)
	if err != nil {
		return nil, answerable(err)
	}
	return result, nil
}

func (a *Admin) execute(ctx context.Context, text string) (*mysql.Result, error) {
	if m := movePattern.FindStringSubmatch(text); m != nil {
		from, to, ok := direction(m[1], m[4], m[5])
		if !ok {
			return nil, syntax(text)
		}
		return ok0(0), a.move(ctx, strings.ToUpper(m[2]+" "+m[3]), from, to)
	}
	if m := killPattern.FindStringSubmatch(text); m != nil {
		id, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil || !a.proxy.Kill(uint32(id)) {
			return nil, mysql.NewError(mysql.ER_NO_SUCH_THREAD, "Unknown thread id: "+m[1])
		}
		return ok0(0), nil
	}
	if m := setPattern.FindStringSubmatch(text); m != nil {
		return a.change(ctx, "UPDATE main.global_variables SET variable_value = ? WHERE variable_name = ?",
			strings.Trim(m[2], `'"`), strings.ToLower(m[1]))
	}
	if m := showPattern.FindStringSubmatch(text); m != nil {
		return a.read(ctx, fmt.Sprintf(`SELECT variable_value AS "@@%s" FROM main.global_variables WHERE variable_name = ?`, m[1]),
			strings.ToLower(m[1]))
	}
	if m := version.FindStringSubmatch(text); m != nil {
		return a.read(ctx, fmt.Sprintf(`SELECT ? AS "%s"`, m[1]), Version)
	}
	if noise.MatchString(text) {
		return ok0(0), nil
	}
	if strings.HasPrefix(strings.ToUpper(text), "SHOW ") {
		return a.show(ctx, text)
	}
	if err := a.refreshFor(ctx, text); err != nil {
		return nil, err
	}
	if reading.MatchString(text) {
		return a.read(ctx, text)
	}
	return a.change(ctx, text)
}

// refreshFor fills the tables of the runtime and the statistics that a statement names.
func (a *Admin) refreshFor(ctx context.Context, text string) error {
	lower := strings.ToLower(text)
	for _, view := range []struct {
		name    string
		refresh func(context.Context) error
	}{
		{"runtime_mysql_servers", a.refresh},
		{"stats_mysql_processlist", a.refreshProcesses},
		{"stats_mysql_connection_pool", a.refreshPool},
	} {
		if strings.Contains(lower, view.name) {
			if err := view.refresh(ctx); err != nil {
				return fmt.Errorf("fill %s: %w", view.name, err)
			}
		}
	}
	return nil
}

func (a *Admin) show(ctx context.Context, text string) (*mysql.Result, error) {
	words := strings.Fields(strings.ToUpper(text))
	switch strings.Join(words[1:min(len(words), 3)], " ") {
	case "TABLES", "TABLES FROM":
		from := "main"
		if len(words) == 4 {
			from = strings.ToLower(words[3])
		}
		if from != "main" && from != "disk" && from != "stats" {
			return nil, mysql.NewError(mysql.ER_BAD_DB_ERROR, "Unknown database '"+from+"'")
		}
		return a.read(ctx, "SELECT name AS tables FROM "+from+".sqlite_master WHERE type = 'table' ORDER BY name")
	case "DATABASES", "SCHEMAS":
		return a.read(ctx, "SELECT seq, name, file FROM pragma_database_list")
	case "VARIABLES", "GLOBAL VARIABLES":
		return a.read(ctx, "SELECT variable_name AS Variable_name, variable_value AS Value FROM main.global_variables ORDER BY variable_name")
	case "PROCESSLIST", "FULL PROCESSLIST":
		if err := a.refreshProcesses(ctx); err != nil {
			return nil, err
		}
		return a.read(ctx, "SELECT SessionID, user, db, hostgroup, command, time_ms, info FROM stats.stats_mysql_processlist")
	default:
		return nil, syntax(text)
	}
}

func (a *Admin) read(ctx context.Context, query string, args ...any) (*mysql.Result, error) {
	rows, err := a.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err is asked below
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var values [][]any
	for rows.Next() {
		cells, targets, row := make([]*string, len(names)), make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, cell := range cells {
			if cell != nil {
				row[i] = *cell
			}
		}
		values = append(values, row)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	set, err := mysql.BuildSimpleTextResultset(names, values)
	if err != nil {
		return nil, err
	}
	return mysql.NewResult(set), nil
}

func (a *Admin) change(ctx context.Context, query string, args ...any) (*mysql.Result, error) {
	result, err := a.db.ExecContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	count, err := result.RowsAffected()
	if err != nil {
		return nil, err
	}
	return ok0(uint64(count)), nil
}

// ok0 is an answer without rows.
func ok0(affected uint64) *mysql.Result {
	result := mysql.NewResultReserveResultset(0)
	result.AffectedRows = affected
	return result
}

func syntax(text string) error {
	return mysql.NewError(mysql.ER_PARSE_ERROR, fmt.Sprintf("the ProxySQL stand-in does not know the statement %q", text))
}

// answerable makes an error of the tables one that a MySQL client understands.
func answerable(err error) error {
	var known *mysql.MyError
	if errors.As(err, &known) {
		return known
	}
	var table sqlite3.Error
	if errors.As(err, &table) {
		return &mysql.MyError{Code: 1045, State: "28000", Message: "ProxySQL Admin Error: " + table.Error()}
	}
	return mysql.NewError(mysql.ER_UNKNOWN_ERROR, err.Error())
}
