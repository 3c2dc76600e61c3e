package site

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/stack"
)

// Raft is where the others reach the controller's raft port.
func (c *Controller) Raft() string {
	return fmt.Sprintf("%s:%d", strings.TrimSuffix(strings.TrimPrefix(c.URL, "http://"), fmt.Sprintf(":%d", httpPort)), raftPort)
}

// Join starts one more controller, which waits to be added to the others.
func (s *Site) Join(ctx context.Context, id string) (*Controller, error) {
	ip, err := s.Stack.IPFor(id, raftPort, httpPort)
	if err != nil {
		return nil, err
	}
	c := &Controller{ID: id, URL: fmt.Sprintf("http://%s:%d", ip, httpPort)}
	s.Controllers = append(s.Controllers, c)
	c.Config = "join: true\n" + s.config(c)
	c.Process, err = s.Stack.StartProcess(ctx, stack.ProcessSpec{
		Name: c.ID, Path: s.options.Binary, Args: []string{"controller", "--config", "switchyard.yaml"},
		Files: map[string]string{"switchyard.yaml": c.Config}, Env: s.options.Env, GID: s.options.ControllerGID,
	})
	return c, err
}

// ChangeControllers asks for a change, and waits until it has ended.
func (s *Site) ChangeControllers(ctx context.Context, request wire.ControllersRequest) (all wire.Controllers, err error) {
	client, err := s.Client(20 * time.Second)
	if err != nil {
		return all, err
	}
	err = Until(ctx, "the change of the controllers begins", func(ctx context.Context) error {
		var done wire.Done
		return client.Post(ctx, wire.PathChangeControllers, request, &done)
	})
	if err != nil {
		return all, err
	}
	return all, Until(ctx, "the change of the controllers ends", func(ctx context.Context) error {
		all = wire.Controllers{}
		if err := s.Get(ctx, wire.PathControllers, &all); err != nil {
			return err
		}
		if all.Change != nil || all.Leader == "" || all.Set == 0 {
			return errors.New("it is under way")
		}
		return nil
	})
}
