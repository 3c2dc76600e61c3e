package probe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// own is one of the operator's queries and what becomes of its answer.
type own struct {
	name string
	sql  string
	use  func(value string) error
}

// askOperator runs the operator's queries in a second round trip. Whatever goes
// wrong with them becomes a sentence in the instance's problems; they get half
// of the time that is left, so that a slow one does not cost the probe.
func (p *Prober) askOperator(ctx context.Context, c *link.Conn, i *topology.Instance) {
	list := p.operatorQueries(i)
	if len(list) == 0 {
		return
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	statements := make([]string, len(list))
	for n, q := range list {
		statements[n] = q.sql
	}
	sets, err := c.Query(ctx, strings.Join(statements, ";\n"))
	if err == nil && len(sets) == len(list) {
		for n, q := range list {
			q.take(sets[n], i)
		}
		return
	}
	// One of them failed, or is none or more than one query: one by one, each can be named.
	for _, q := range list {
		sets, err := c.Query(ctx, q.sql)
		switch {
		case err != nil:
			i.Problems = append(i.Problems, fmt.Sprintf("The %s failed: %s.", q.name, link.Reason(err)))
		case len(sets) == 0:
			i.Problems = append(i.Problems, fmt.Sprintf("The %s returned nothing.", q.name))
		default:
			q.take(sets[0], i)
		}
	}
}

func (p *Prober) operatorQueries(i *topology.Instance) []own {
	text := func(to *string) func(string) error {
		return func(value string) error {
			*to = value
			return nil
		}
	}
	all := []own{
		{"lag query", p.cfg.LagQuery, func(value string) error {
			if i.Replication == nil {
				return nil
			}
			lag, err := dialect.Seconds(value)
			if err == nil {
				i.Replication.Lag = &lag
			}
			return err
		}},
		{"data center query", p.cfg.DataCenterQuery, text(&i.DataCenter)},
		{"region query", p.cfg.RegionQuery, text(&i.Region)},
		{"cluster name query", p.cfg.ClusterNameQuery, text(&i.ClusterHint)},
	}
	var list []own
	for _, q := range all {
		if q.sql = strings.TrimRight(q.sql, "; \t\r\n"); q.sql != "" {
			list = append(list, q)
		}
	}
	return list
}

// take uses the one value of a set; NULL and no row are "not known".
func (q own) take(set []link.Row, i *topology.Instance) {
	if len(set) == 0 {
		return
	}
	if len(set) > 1 || len(set[0]) > 1 {
		i.Problems = append(i.Problems, fmt.Sprintf("The %s returned more than one value.", q.name))
		return
	}
	for _, value := range set[0] {
		if err := q.use(value); err != nil {
			i.Problems = append(i.Problems, fmt.Sprintf("The %s is of no use: %v.", q.name, err))
		}
	}
}
