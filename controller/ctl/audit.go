package ctl

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

func auditCommand(env Env) *cobra.Command {
	var cluster, server, kind, since string
	limit := 50
	command := newCommand(env, &cobra.Command{
		Use:   "audit",
		Short: "List what was found, done, and asked for, by whom and why; --format json or jsonl exports it",
	}, readTimeout, func(s session) error {
		query, err := auditQuery(cluster, server, kind, since, limit)
		if err != nil {
			return err
		}
		entries, err := s.audit(query, limit)
		if err != nil {
			return err
		}
		if s.lines {
			return s.write(jsonLines(entries))
		}
		return s.print(entries, func() string { return Audit(entries) })
	})
	flags := command.Flags()
	flags.StringVar(&cluster, "cluster", "", "of this cluster only")
	flags.StringVar(&server, "server", "", "of this server only, HOST:PORT")
	flags.StringVar(&kind, "kind", "", "of this kind only: "+kinds())
	flags.StringVar(&since, "since", "", "not older than this: 2h, 3d, or a time as in 2006-01-02T15:04:05Z")
	flags.IntVar(&limit, "limit", limit, "how many at most, the newest; 0 for all that are kept")
	flags.Lookup("format").Usage = "text, json, or jsonl for a line for each entry"
	return command
}

func kinds() string {
	all := wire.AuditKinds()
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

func auditQuery(cluster, server, kind, since string, limit int) (url.Values, error) {
	query := url.Values{}
	if cluster != "" {
		if err := wire.CheckName("cluster", cluster); err != nil {
			return nil, NewUsageError(fmt.Errorf("--cluster: %w", err))
		}
		query.Set("cluster", cluster)
	}
	k, err := optionalKey("--server", server)
	if err != nil {
		return nil, err
	}
	if server != "" {
		query.Set("server", k.String())
	}
	if kind != "" {
		if !slices.Contains(wire.AuditKinds(), ledger.AuditKind(kind)) {
			return nil, NewUsageError(fmt.Errorf("--kind %q: want one of %s", kind, kinds()))
		}
		query.Set("kind", kind)
	}
	if since != "" {
		if _, err := time.Parse(time.RFC3339, since); err != nil {
			if d, err := wire.ParseDuration(since); err != nil || d <= 0 {
				return nil, NewUsageError(fmt.Errorf("--since %q: %s", since, sinceHint))
			}
		}
		query.Set("since", since)
	}
	if limit < 0 {
		return nil, NewUsageError(fmt.Errorf("--limit %d: want 1 or more, or 0 for all", limit))
	}
	return query, nil
}

// audit fetches page after page until there are limit entries, or all.
func (s session) audit(query url.Values, limit int) ([]ledger.AuditEntry, error) {
	entries := []ledger.AuditEntry{}
	for {
		want := wire.MaxAudit
		if limit > 0 {
			want = min(want, limit-len(entries))
		}
		query.Set("limit", strconv.Itoa(want))
		var page wire.Audit
		if err := s.get(wire.PathAudit+"?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		entries = append(entries, page.Entries...)
		if page.Next == 0 || limit > 0 && len(entries) >= limit {
			return entries, nil
		}
		query.Set("before", strconv.FormatUint(page.Next, 10))
	}
}

func jsonLines(entries []ledger.AuditEntry) (string, error) {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, e := range entries {
		if err := encoder.Encode(e); err != nil {
			return "", fmt.Errorf("encode entry %d: %w", e.ID, err)
		}
	}
	return out.String(), nil
}

// Audit prints a table of audit entries. Evidence has room in it only where it
// is a line; all of it goes with the export.
func Audit(entries []ledger.AuditEntry) string {
	if len(entries) == 0 {
		return "the audit has no such entry\n"
	}
	rows := [][]string{{"ID", "AT", "KIND", "CLUSTER", "SERVER", "ACTION", "BY", "RECOVERY", "OUTCOME", "REASON"}}
	for _, e := range entries {
		outcome, why, _ := strings.Cut(e.Outcome, ": ")
		rows = append(rows, []string{
			strconv.FormatUint(e.ID, 10), dash(moment(e.At)), dash(string(e.Kind)), dash(e.Cluster), keyText(e.Server),
			dash(e.Action), dash(e.By), dash(e.Recovery), dash(outcome), auditReason(e, why),
		})
	}
	return table(rows...)
}

// auditReason is why something was done, and why it did not go well.
func auditReason(e ledger.AuditEntry, why string) string {
	parts := []string{clean(e.Reason)}
	if why != "" {
		parts = append(parts, "("+clean(why)+")")
	}
	// Why a person asked for a recovery is the first of its evidence.
	if e.Kind == ledger.AuditOperator && (len(e.Evidence) == 1 || len(e.Evidence) > 1 && e.Recovery != "") {
		parts = append(parts, "["+clean(e.Evidence[0])+"]")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}
