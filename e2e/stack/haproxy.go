package stack

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"syscall"
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
	return s.startHAProxy(ctx, name, config, nil, "-db")
}

// StartHAProxyMaster is StartHAProxy with a master process, which listens on an address (IPv4:PORT) of its own and can
// reload the configuration.
func (s *Stack) StartHAProxyMaster(ctx context.Context, name, config, master string) (*HAProxy, error) {
	return s.startHAProxy(ctx, name, config, []string{master}, "-W", "-S", "ipv4@"+master)
}

func (s *Stack) startHAProxy(
	ctx context.Context, name, config string, listens []string, mode ...string,
) (*HAProxy, error) {
	path, err := HAProxyProgram()
	if err != nil {
		return nil, err
	}
	h := &HAProxy{listens: listens}
	for _, match := range listenLine.FindAllStringSubmatch(config, -1) {
		h.listens = append(h.listens, match[1])
	}
	if len(h.listens) == len(listens) {
		return nil, errors.New("the HAProxy configuration listens nowhere: it needs a bind line with an IPv4 address and port")
	}
	h.Process, err = s.prepare(ProcessSpec{Name: name, Path: path, Args: append(mode, "-f", "haproxy.cfg"),
		Files: map[string]string{"haproxy.cfg": config}})
	if err != nil {
		return nil, err
	}
	return h, h.Start(ctx)
}

// Start starts HAProxy (again) and waits until it listens.
func (h *HAProxy) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.Wait(ctx); err != nil {
		return err
	}
	if err := h.Process.Start(ctx); err != nil {
		return err
	}
	return h.WaitFor(ctx, "listening", func(ctx context.Context) error {
		for _, address := range h.listens {
			if err := h.reach(ctx, address); err != nil {
				return fmt.Errorf("%s: %w", address, err)
			}
		}
		return nil
	})
}

// Reload makes a master process start a new worker, with the same file. The old one keeps its connections.
func (h *HAProxy) Reload() error { return h.signal(syscall.SIGUSR2) }

// Restart kills HAProxy and starts it again with the same file: what it was told at run time is gone.
func (h *HAProxy) Restart(ctx context.Context) error {
	if err := h.Kill(); err != nil {
		return err
	}
	return h.Start(ctx)
}
