package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"switchyard/integrations/mysql/link"
)

// vitals are what may keep clients from writing though the server answers.
type vitals struct {
	readOnly        bool
	connected, most int
	// waiting commits wait for acknowledgements of wanted replicas; clients are
	// those that could give them, and acked counts what they gave.
	waiting, clients, wanted int
	acked                    string
}

func readVitals(ctx context.Context, conn *link.Conn) (vitals, error) {
	sets, err := conn.Query(ctx, conn.Dialect.Vitals())
	if err != nil {
		return vitals{}, err
	}
	if len(sets) != 3 || len(sets[0]) != 1 {
		return vitals{}, link.NewError(conn.Address, "ask how it is", errors.New("it did not answer all"))
	}
	counters, variables := named(sets[1]), named(sets[2])
	source := func(name string) string {
		return cmp.Or(counters["rpl_semi_sync_source_"+name], counters["rpl_semi_sync_master_"+name])
	}
	v := vitals{
		readOnly: truth(sets[0][0]["read_only"]), connected: count(counters["threads_connected"]),
		most: count(sets[0][0]["max_connections"]), acked: source("yes_tx"),
	}
	if truth(source("status")) {
		v.waiting, v.clients = count(source("wait_sessions")), count(source("clients"))
		v.wanted = max(1, count(cmp.Or(variables["rpl_semi_sync_source_wait_for_replica_count"],
			variables["rpl_semi_sync_master_wait_for_slave_count"])))
	}
	return v, nil
}

// locked says why commits wait in vain for acknowledgements; nothing if they do
// not: too few replicas are there to give them or, though there are enough, some
// waited at the attempt before too and none was given since.
func (v vitals) locked(before vitals) string {
	switch {
	case v.waiting == 0:
		return ""
	case v.clients < v.wanted:
		return fmt.Sprintf("commits that wait: %d; replicas that acknowledge: %d, and a commit waits for %d",
			v.waiting, v.clients, v.wanted)
	case before.waiting > 0 && v.acked == before.acked:
		return fmt.Sprintf("commits that wait: %d, and none of the %d replicas that should acknowledge does", v.waiting, v.clients)
	}
	return ""
}
