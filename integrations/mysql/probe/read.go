package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// read makes one probe on the connection of s. One that is urgent asks for
// nothing that can wait.
func (p *Prober) read(ctx context.Context, s *seat, urgent bool) (*topology.Instance, error) {
	answers, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	c := s.conn
	instance, err := parse(c.Dialect, answers)
	if err != nil {
		return nil, link.NewError(c.Address, "read the probe's answers", err)
	}
	instance.Address, instance.Key, instance.Version = c.Address, c.Address, c.Version
	if strings.Contains(strings.ToLower(c.Version), "maxscale") {
		instance.Unsupported = append(instance.Unsupported, "it is a binlog server")
	}
	for _, q := range c.Dialect.Questions() {
		if why, refused := s.refused[q.Name]; refused {
			instance.Problems = append(instance.Problems,
				fmt.Sprintf("The server does not tell its %s (grant %s): %s.", q.Name, q.Needs, why))
		}
	}
	p.askSlow(ctx, c, instance, !urgent)
	p.askOperator(ctx, c, instance)
	return instance, nil
}

// ask sends all questions in one round trip. A server that refuses one that can
// be done without is asked the rest again, and that one no more on this connection.
func (s *seat) ask(ctx context.Context) (map[string][]link.Row, error) {
	return s.askAll(ctx, s.conn.Dialect.Questions())
}

func (s *seat) askAll(ctx context.Context, questions []dialect.Question) (map[string][]link.Row, error) {
	answers := map[string][]link.Row{}
	list := slices.DeleteFunc(slices.Clone(questions), func(q dialect.Question) bool {
		_, refused := s.refused[q.Name]
		return refused
	})
	for len(list) > 0 {
		statements := make([]string, len(list))
		for i, q := range list {
			statements[i] = q.SQL
		}
		sets, err := s.conn.Query(ctx, strings.Join(statements, "; "))
		for i, set := range sets {
			if i < len(list) {
				answers[list[i].Name] = set
			}
		}
		switch {
		case err == nil && len(sets) != len(list):
			err = fmt.Errorf("%d answers to %d questions", len(sets), len(list))
			return nil, link.NewError(s.conn.Address, "probe", err)
		case err == nil:
			return answers, nil
		case len(sets) >= len(list) || link.Lost(err) || !list[len(sets)].Optional:
			return nil, err
		}
		if missing(err) {
			if s.refused == nil {
				s.refused = map[string]string{}
			}
			s.refused[list[len(sets)].Name] = link.Reason(err)
		}
		list = list[len(sets)+1:]
	}
	return answers, nil
}

// missing reports whether a question will fail again: for want of a grant, or
// of the table. Other failures pass.
func missing(err error) bool {
	switch link.ServerError(err) {
	case 1044, 1045, 1142, 1143, 1227, 1370, 1146, 1109, 1049, 1054:
		return true
	}
	return false
}
