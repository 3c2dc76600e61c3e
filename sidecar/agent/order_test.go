package agent

import (
	"testing"

	"switchyard/router/routes"
)

func epoch(number uint64) routes.Epoch { return routes.Epoch{Generation: 1, Number: number} }

func server(host string) routes.Server { return routes.Server{Host: host, Port: 3306} }

// table is of epoch 1.number; "" is withdrawn.
func table(number, revision uint64, host string, readers ...string) routes.Table {
	t := routes.Table{Cluster: "shop", Epoch: epoch(number), Revision: revision}
	if host != "" {
		s := server(host)
		t.Writer = &s
	}
	for _, reader := range readers {
		t.Readers = append(t.Readers, routes.Reader{Server: server(reader), Weight: 100})
	}
	return t
}

func planned(t routes.Table) routes.Table {
	t.Planned = true
	return t
}

func TestJudge(t *testing.T) {
	full := func(t routes.Table) held { return held{Table: t} }
	partial := func(t routes.Table) held { return held{Table: t, Partial: true} }
	for name, test := range map[string]struct {
		held held
		said routes.Table
		from source
		want verdict
		then held
	}{
		"a push is believed at once":           {held{}, table(5, 1, ""), push, adopted, full(table(5, 1, ""))},
		"so is the leader":                     {held{}, table(5, 2, "a"), leader, adopted, full(table(5, 2, "a"))},
		"a follower may lag behind":            {held{}, table(5, 2, "a"), follower, unproven, held{}},
		"the directory knows no withdrawal":    {held{}, table(5, 2, "a"), directory, unproven, held{}},
		"a later epoch":                        {full(table(5, 9, "a")), table(6, 1, ""), follower, adopted, full(table(6, 1, ""))},
		"a later revision":                     {full(table(5, 1, "")), table(5, 2, "a"), follower, adopted, full(table(5, 2, "a"))},
		"an older epoch":                       {full(table(6, 1, "")), table(5, 9, "a"), push, older, full(table(6, 1, ""))},
		"an older revision":                    {full(table(5, 2, "a")), table(5, 1, ""), push, older, full(table(5, 2, "a"))},
		"the same":                             {full(table(5, 2, "a", "b")), table(5, 2, "a", "b"), push, same, full(table(5, 2, "a", "b"))},
		"another writer":                       {full(table(5, 2, "a")), table(5, 2, "b"), push, conflicting, full(table(5, 2, "a"))},
		"nobody and somebody":                  {full(table(5, 1, "")), table(5, 1, "a"), push, conflicting, full(table(5, 1, ""))},
		"other readers":                        {full(table(5, 2, "a", "b")), table(5, 2, "a", "c"), push, conflicting, full(table(5, 2, "a", "b"))},
		"no more time":                         {full(planned(table(5, 1, ""))), table(5, 1, ""), push, adopted, full(table(5, 1, ""))},
		"time is never given":                  {full(table(5, 1, "")), planned(table(5, 1, "")), push, same, full(table(5, 1, ""))},
		"the directory moves an older epoch":   {full(table(4, 7, "a", "b", "c")), table(5, 2, "b"), directory, adopted, partial(table(5, 2, "b", "c"))},
		"and an older withdrawal":              {full(table(4, 1, "")), table(5, 2, "b"), directory, adopted, partial(table(5, 2, "b"))},
		"its word ends the epoch's withdrawal": {full(table(5, 1, "")), table(5, 2, "b"), directory, adopted, partial(table(5, 2, "b"))},
		"but not with the same revision":       {full(table(5, 2, "")), table(5, 2, "b"), directory, older, full(table(5, 2, ""))},
		"nor is a later withdrawal undone":     {full(table(6, 1, "")), table(5, 9, "a"), directory, older, full(table(6, 1, ""))},
		"it adds nothing to an announcement":   {full(table(5, 2, "b", "c")), table(5, 9, "b"), directory, same, full(table(5, 2, "b", "c"))},
		"nor does it change the master":        {full(table(5, 2, "b")), table(5, 9, "x"), directory, conflicting, full(table(5, 2, "b"))},
		"a controller says the readers":        {partial(table(5, 2, "b")), table(5, 2, "b", "c"), follower, adopted, full(table(5, 2, "b", "c"))},
		"a late withdrawal is older":           {partial(table(5, 2, "b")), table(5, 1, ""), push, older, partial(table(5, 2, "b"))},
		"a directory that lies is a conflict":  {partial(table(5, 2, "b")), table(5, 2, "c"), push, conflicting, partial(table(5, 2, "b"))},
	} {
		t.Run(name, func(t *testing.T) {
			then, got := test.held.judge(test.said, test.from)
			if got != test.want || !equal(then, test.then) {
				t.Errorf("verdict %d, then %+v; want %d, %+v", got, then, test.want, test.then)
			}
		})
	}
}

func equal(a, b held) bool {
	return a.Partial == b.Partial && is(a.Table, b.Table) && sameWriter(a.Table, b.Table) &&
		a.Table.Planned == b.Table.Planned && slicesEqual(a.Table.Readers, b.Table.Readers)
}
