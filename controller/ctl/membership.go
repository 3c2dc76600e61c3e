package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/wire"
)

const (
	// changeTimeout is how long a command waits for the end of its change: one that
	// is removed counts for the longest lease and fence.
	changeTimeout = 90 * time.Second
	// changePause is between two looks.
	changePause = 300 * time.Millisecond
)

func controllersAddCommand(env Env) *cobra.Command {
	request := wire.ControllersRequest{Change: wire.AddController}
	return changeCommand(env, &request, true, &cobra.Command{
		Use: "add ID", Short: "Add a controller that runs with join: true, or give a vote to one that has none",
	})
}

func controllersMoveCommand(env Env) *cobra.Command {
	request := wire.ControllersRequest{Change: wire.MoveController}
	return changeCommand(env, &request, true, &cobra.Command{
		Use: "move ID", Short: "Tell the others the new addresses of a controller, which is restarted with them",
	})
}

func controllersRemoveCommand(env Env) *cobra.Command {
	request := wire.ControllersRequest{Change: wire.RemoveController}
	return changeCommand(env, &request, false, &cobra.Command{
		Use: "remove ID", Short: "Remove a controller, or take back the adding of one that is under way",
	})
}

func changeCommand(env Env, request *wire.ControllersRequest, addressed bool, c *cobra.Command) *cobra.Command {
	var a asker
	var wait bool
	command := newCommand(env, c, changeTimeout, func(s session) error {
		id, err := s.name("controller")
		if err != nil {
			return err
		}
		if addressed {
			if err := s.required("raft", request.Raft, "give HOST:PORT, where the others reach its raft port"); err != nil {
				return err
			}
			if err := s.required("http", request.API, "give http://HOST:PORT, where the others reach it"); err != nil {
				return err
			}
		}
		request.ID, request.Asker = id, a.Asker
		var done wire.Done
		if err := s.client.Post(s.command.Context(), wire.PathChangeControllers, *request, &done); err != nil {
			return err
		}
		if wait {
			if err := s.settled(*request); err != nil {
				return fmt.Errorf("%s; %w", done.Sentence, err)
			}
		}
		return s.print(done, func() string { return Done(done) })
	})
	flags := command.Flags()
	if addressed {
		flags.StringVar(&request.Raft, "raft", "", "HOST:PORT where the others reach its raft port")
		flags.StringVar(&request.API, "http", "", "URL where the others reach its HTTP API")
		flags.StringVar(&request.DataCenter, "dc", "", "its datacenter")
	}
	if request.Change == wire.AddController {
		flags.BoolVar(&request.Nonvoter, "non-voter", false, "it follows, and never counts for a majority")
	}
	flags.BoolVar(&wait, "wait", false, "wait until the change has ended")
	a.flags(command, env, false)
	return command
}

// settled waits until a change has ended, and says if it was taken back. Who is asked
// may not have heard of it yet: that none is under way says nothing before one was.
func (s session) settled(request wire.ControllersRequest) error {
	ctx := s.command.Context()
	for begun := false; ; {
		var all wire.Controllers
		err := s.get(wire.PathControllers, &all)
		switch {
		case err != nil || all.Leader == "":
		case all.Change != nil && all.Change.ID == request.ID:
			begun = true
		case reached(request, all):
			return nil
		case begun:
			return errors.New("it was taken back: see `switchyard audit`")
		}
		timer := time.NewTimer(changePause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return errors.New("it is still under way: see `switchyard controllers list`")
			}
			return ctx.Err()
		}
	}
}

// reached reports whether the controllers are as was asked for.
func reached(request wire.ControllersRequest, all wire.Controllers) bool {
	at := slices.IndexFunc(all.Controllers, func(c wire.ControllerAccount) bool { return c.ID == request.ID })
	if request.Change == wire.RemoveController || at < 0 {
		return request.Change == wire.RemoveController && at < 0
	}
	one := all.Controllers[at]
	if request.Change == wire.MoveController {
		return one.Raft == request.Raft && one.API == request.API
	}
	return one.Role == wire.Voter || request.Nonvoter && one.Role == wire.Nonvoter
}

// underWay says what is being changed.
func underWay(c wire.ControllersChange) string {
	text := fmt.Sprintf("%s %s, asked for by %s at %s", clean(c.Change), clean(c.ID), clean(c.By), c.Since.UTC().Format(time.RFC3339))
	if c.Undoing != "" {
		text += ", being taken back: " + clean(c.Undoing)
	}
	return text
}
