package app

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"switchyard/sidecar/call"
	"switchyard/sidecar/config"
)

func newShared(c *config.File) (shared, error) {
	// Linux names each boot; two instants of different boots are never compared.
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return shared{}, fmt.Errorf("the id of this boot: %w; a sidecar runs on Linux with /proc mounted", err)
	}
	over, err := c.TLS.Build()
	if err != nil {
		return shared{}, fmt.Errorf("tls: %w", err)
	}
	return shared{file: c, client: call.NewOver(c.Secret.Reveal(), over), run: rand.Text(), boot: strings.TrimSpace(string(boot)),
		log: newLogger(c)}, nil
}
