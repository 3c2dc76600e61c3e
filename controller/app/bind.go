package app

import (
	"context"
	"fmt"
	"net"
	"strings"

	"switchyard/controller/config"
)

// bindable tries the addresses that this controller is to listen on, before
// anything is begun or written.
func bindable(ctx context.Context, c *config.File) error {
	self := c.Self()
	for _, b := range []struct{ key, address, advertised string }{
		{"raft", c.Bind.Raft, self.Raft},
		{"http", c.Bind.HTTP, self.HTTP},
	} {
		key := "bind." + b.key
		if b.address == b.advertised || strings.HasSuffix(b.advertised, "://"+b.address) {
			key = fmt.Sprintf("controllers (%s).%s, as there is no bind.%s", c.ID, b.key, b.key)
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", b.address)
		if err != nil {
			return &StartError{fmt.Errorf("%s %q cannot be listened on: %w; name a free address of this machine in bind.%s as HOST:PORT",
				key, b.address, err, b.key)}
		}
		if err := listener.Close(); err != nil {
			return &StartError{fmt.Errorf("%s %q: %w", key, b.address, err)}
		}
	}
	return nil
}
