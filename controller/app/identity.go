package app

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/config"
)

// alone makes sure that no other process answers as this controller: two with
// one id would each vote, and so could elect two leaders in one term. It asks
// before this process listens, when nobody should answer; boot is empty then.
// Later, the one that answers must be this very process.
func alone(ctx context.Context, w carriage, c *config.File, boot string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	self := c.Self()
	who, err := w.peers(c).WhoAmI(ctx, self.HTTP)
	if err != nil {
		return nil //nolint:nilerr // nobody answers; an advertised address need not lead back to its own host either
	}
	if who.Boot == boot {
		return nil
	}
	return &StartError{fmt.Errorf("id: a controller answers already at %s, the address of %q; "+
		"give each controller an id and addresses of its own, or end the other one", self.HTTP, c.ID)}
}
