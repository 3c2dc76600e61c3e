package site

import (
	"context"
	"fmt"
	"strconv"
)

// waitTripwires waits until all controllers would see how the master's connections end.
func (s *Site) waitTripwires(ctx context.Context) error {
	return Until(ctx, "every controller holds a tripwire on the master", func(ctx context.Context) error {
		n, err := s.DB.Master.Value(ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"+
			" AND INFO LIKE '%switchyard tripwire%'")
		if err == nil && n != strconv.Itoa(len(s.Controllers)) {
			err = fmt.Errorf("%s of %d do", n, len(s.Controllers))
		}
		return err
	})
}
