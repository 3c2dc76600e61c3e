package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// slowEvery is how often what changes rarely is read of a server.
const slowEvery = 30 * time.Second

// slow is what is remembered of a server beside its connections: it was asked
// rarely, and goes into the pictures in between.
type slow struct {
	// id tells servers apart that are met at one address after another.
	id       string
	asked    time.Time
	boots    topology.Boots
	passers  []string
	filters  string
	group    string // the state of a member of group replication
	problems []string
}

func identity(i *topology.Instance) string {
	return fmt.Sprint(i.UUID, "/", i.ServerID, "/", i.Hostname)
}

// askSlow adds what changes rarely to a picture. Where it is time, and the
// caller can wait, the server is asked, in a round trip of its own that gets half
// of the time that is left; whatever goes wrong with it is a problem, and not a
// failed probe.
func (p *Prober) askSlow(ctx context.Context, c *link.Conn, i *topology.Instance, wait bool) {
	p.mu.Lock()
	known := p.slow[c.Address]
	p.mu.Unlock()
	if known != nil && known.id != identity(i) {
		known = nil
	}
	if wait && (known == nil || time.Since(known.asked) > slowEvery) {
		fresh := readSlow(ctx, c, known)
		fresh.id, fresh.asked = identity(i), time.Now()
		p.mu.Lock()
		if !p.closed {
			p.slow[c.Address] = fresh
		}
		p.mu.Unlock()
		known = fresh
	}
	if known == nil {
		return
	}
	i.Boots, i.FencePassers = known.boots, known.passers
	i.Problems = append(i.Problems, known.problems...)
	if i.Replication == nil && i.Filters == "" {
		i.Filters = known.filters
	}
	if known.group != "" && known.group != "OFFLINE" {
		i.Unsupported = append(i.Unsupported, fmt.Sprintf("it is a member of a replication group (%s)", known.group))
	}
}

func readSlow(ctx context.Context, c *link.Conn, before *slow) *slow {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	out := &slow{}
	if before != nil {
		*out = *before
		out.problems = nil
	}
	// Each of them fails alone: the seat here is none that refuses for good.
	list := c.Dialect.SlowQuestions()
	s := &seat{conn: c}
	answers, err := s.askAll(ctx, list)
	if err != nil {
		out.problems = append(out.problems, fmt.Sprintf("The server's settings and grants could not be read: %s.", link.Reason(err)))
		return out
	}
	for _, q := range list {
		if why, refused := s.refused[q.Name]; refused {
			out.problems = append(out.problems, fmt.Sprintf("The server does not tell its %s (grant %s): %s.", q.Name, q.Needs, why))
		}
	}
	if rows, ok := answers[dialect.AskBoots]; ok {
		if boots := boots(c.Dialect, rows); boots != "" || before == nil {
			// What was set at run time hides what the option file says; it has said so before.
			out.boots = boots
		}
	}
	if rows, ok := answers[dialect.AskGrants]; ok {
		out.passers = passers(rows, answers[dialect.AskRoles])
	}
	if rows, ok := answers[dialect.AskFilters]; ok {
		rules := map[string]string{}
		for _, row := range rows {
			rules[strings.TrimPrefix(strings.ToLower(row["name"]), "replicate_")] = row["rule"]
		}
		out.filters = dialect.FilterLine(rules)
	}
	if rows, ok := answers[dialect.AskGroup]; ok {
		out.group = ""
		for _, row := range rows {
			out.group = row["state"]
		}
	}
	return out
}

// boots tells how a server would come up: what was persisted wins, then what the
// option file or the command line said, unless the value was set since. A
// super_read_only makes read_only superfluous.
func boots(d dialect.Dialect, rows []link.Row) topology.Boots {
	known := 0
	for _, row := range rows {
		value := row["value"]
		if persisted, ok := row["persisted"]; ok {
			value = persisted
		} else if origin := strings.ToUpper(row["origin"]); origin == "DYNAMIC" || origin == "SQL" {
			continue
		}
		if truth(value) {
			return topology.BootsReadOnly
		}
		known++
	}
	if want := 1; known >= want && (d.Flavor == gtid.MariaDB || known == 2) {
		return topology.BootsWritable
	}
	return ""
}

// passers lists the accounts that may write in spite of read_only, by their own
// grants or by those of a role. Our own is none of them, nor are the accounts that
// servers and their packages make for themselves, which nobody reaches from
// another host.
func passers(grants, edges []link.Row) []string {
	self := ""
	pass, write := map[string]bool{}, map[string]bool{}
	for _, row := range grants {
		account := plain(row["grantee"])
		switch row["privilege"] {
		case "SELF":
			self = account
		case "PASS":
			pass[account] = true
		case "WRITE":
			write[account] = true
		}
	}
	roles := map[string]bool{}
	for range edges { // as often as a chain of roles can be long
		for _, row := range edges {
			account, role := plain(row["grantee"]), plain(row["role"])
			roles[role] = true
			pass[account] = pass[account] || pass[role]
			write[account] = write[account] || write[role]
		}
	}
	var out []string
	for account := range pass {
		if pass[account] && write[account] && account != self && !roles[account] && !ofTheServer(account) {
			out = append(out, account)
		}
	}
	slices.Sort(out)
	return out
}

// plain takes the quotes from an account's name.
func plain(account string) string {
	user, host, found := strings.Cut(account, "'@'")
	if !found {
		return account
	}
	return strings.TrimPrefix(user, "'") + "@" + strings.TrimSuffix(host, "'")
}

// ofTheServer reports whether an account belongs to the server itself.
func ofTheServer(account string) bool {
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		return false
	}
	user, host := account[:at], account[at+1:]
	switch host {
	case "", "localhost", "127.0.0.1", "::1":
	default:
		return false
	}
	switch user {
	case "root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint":
		return true
	}
	return host == "" // a role of MariaDB
}
