package witness

import (
	"context"
	"fmt"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// Looker looks at servers by attempts that it begins after the call.
type Looker interface {
	Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View
}

// Testify is the account that this controller gives to another: it looks now.
func Testify(ctx context.Context, looker Looker, question wire.WitnessRequest) (topology.View, error) {
	if n := len(question.Servers); n == 0 || n > wire.MaxWitnessServers {
		return topology.View{}, fmt.Errorf("servers has %d entries: want 1 to %d", n, wire.MaxWitnessServers)
	}
	for i, key := range question.Servers {
		if key.IsZero() {
			return topology.View{}, fmt.Errorf("servers: entry %d is empty: want HOST:PORT", i)
		}
	}
	view := looker.Look(ctx, question.Servers, nil)
	if err := ctx.Err(); err != nil {
		// What was cut short is no account.
		return topology.View{}, fmt.Errorf("look for controller %s: %w", question.Asker, err)
	}
	return view, nil
}
