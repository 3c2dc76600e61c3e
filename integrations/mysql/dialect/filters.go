package dialect

import (
	"slices"
	"strings"
)

// filterNames are the replication filters as a channel's status names them,
// without the "Replicate_" before it. MariaDB's variables have the same names.
func filterNames() []string {
	return []string{
		"do_db", "ignore_db", "do_table", "ignore_table", "wild_do_table", "wild_ignore_table", "rewrite_db",
		"do_domain_ids", "ignore_domain_ids",
	}
}

// StatusFilters reads the filters from a row of the replication status.
func StatusFilters(row map[string]string) string {
	rules := map[string]string{}
	for column, rule := range row {
		name := strings.ToLower(column)
		if name, found := strings.CutPrefix(name, "replicate_"); found {
			rules[name] = rule
		}
	}
	return FilterLine(rules)
}

// FilterLine prints filters in one line that is the same for the same filters.
func FilterLine(rules map[string]string) string {
	var parts []string
	for _, name := range filterNames() {
		var items []string
		for item := range strings.SplitSeq(rules[name], ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		if name == "rewrite_db" { // pairs: their order tells which belong together
			items = slices.DeleteFunc([]string{strings.TrimSpace(rules[name])}, func(s string) bool { return s == "" })
		}
		slices.Sort(items)
		if len(items) > 0 {
			parts = append(parts, name+"="+strings.Join(items, ","))
		}
	}
	return strings.Join(parts, "; ")
}
