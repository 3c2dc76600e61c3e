package stack

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// HAProxy is a running HAProxy; it can be killed and started again on the same configuration file.
type HAProxy struct {
	*Process
	listens []string
}

var listenLine = regexp.MustCompile(`(?m)^\s*(?:bind|stats\s+socket)\s+(?:ipv4@)?(\d+\.\d+\.\d+\.\d+:\d+)\b`)

// StartHAProxy runs an HAProxy in the foreground on a configuration and waits until it listens wherever the
// configuration says so (bind and stats socket lines with an IPv4 address).
func (s *Stack) StartHAProxy(ctx context.Context, name, config string) (*HAProxy, error) {
	path, err := haproxyProgram()
	if err != nil {
		return nil, err
	}
	h := &HAProxy{}
	for _, match := range listenLine.FindAllStringSubmatch(config, -1) {
		h.listens = append(h.listens, match[1])
	}
	if len(h.listens) == 0 {
		return nil, errors.New("the HAProxy configuration listens nowhere: it needs a bind line with an IPv4 address and port")
	}
	h.Process, err = s.prepare(ProcessSpec{Name: name, Path: path, Args: []string{"-db", "-f", "haproxy.cfg"},
		Files: map[string]string{"haproxy.cfg": config}})
	if err != nil {
		return nil, err
	}
	return h, h.Start(ctx)
}

// Start starts HAProxy (again) and waits until it listens.
func (h *HAProxy) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := h.Wait(ctx); err != nil {
		return err
	}
	if err := h.Process.Start(ctx); err != nil {
		return err
	}
	return h.WaitFor(ctx, "listening", func(ctx context.Context) error {
		for _, address := range h.listens {
			if err := dial(ctx, address); err != nil {
				return fmt.Errorf("%s: %w", address, err)
			}
		}
		return nil
	})
}

// Restart kills HAProxy and starts it again with the same file: what it was told at run time is gone.
func (h *HAProxy) Restart(ctx context.Context) error {
	if err := h.Kill(); err != nil {
		return err
	}
	return h.Start(ctx)
}
