package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/store/codec"
)

const backupTimeout = time.Minute

// Raw fetches what is not JSON, of at most so many bytes.
func (c *Client) Raw(ctx context.Context, path string, most int) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s (--timeout)", c.timeout))
	defer cancel()
	base, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := c.call(ctx, call.Request{Method: http.MethodGet, URL: base + path, MaxReply: most})
	if err != nil {
		return nil, err
	}
	if reply.Status != http.StatusOK {
		return nil, refusal(base, reply)
	}
	return reply.Body, nil
}

func backupCommand(env Env) *cobra.Command {
	var out string
	var local bool
	command := newCommand(env, &cobra.Command{
		Use: "backup", Short: "Write the controllers' ledger to a file, from which it can be restored",
		Long: "Write the controllers' ledger to a file, from which switchyard restore begins it anew. The leader gives it, with all\n" +
			"that was committed before; with --local a controller gives what it knows, where no leader is left.",
	}, backupTimeout, func(s session) error {
		if err := s.required("out", out, "name the file to write"); err != nil {
			return err
		}
		path := wire.PathBackup
		if local {
			path += "?local=true"
		}
		data, err := s.client.Raw(s.command.Context(), path, wire.MaxBackup)
		if err != nil {
			return err
		}
		head, _, err := codec.DecodeBackup(data)
		if err != nil {
			return fmt.Errorf("what came is no backup that can be restored: %w", err)
		}
		if err := writeNew(out, data); err != nil {
			return err
		}
		return s.print(head, func() string {
			text := fmt.Sprintf("%s: the ledger of %q, generation %d, up to entry %d, by %s at %s\n", out, clean(head.Name),
				head.Generation, head.Index, clean(head.Controller), head.TakenAt.UTC().Format(time.RFC3339))
			if !head.Leader {
				text += "this is what one controller knows; others may know more\n"
			}
			return text
		})
	})
	command.Flags().StringVar(&out, "out", "", "the file to write; it must not exist (required)")
	command.Flags().BoolVar(&local, "local", false, "take what a controller knows, where there is no leader")
	return command
}

// writeNew makes a file that has all of data, or none: it overwrites nothing.
func writeNew(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := os.Link(file.Name(), path); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("--out %s: it exists; name another file, or remove it", path)
		}
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

func adoptCommand(env Env) *cobra.Command {
	var a asker
	var master string
	command := newCommand(env, &cobra.Command{
		Use: "adopt CLUSTER", Short: "After a restore, say who is the master of a cluster that is held",
	}, readTimeout, func(s session) error {
		cluster, err := s.name("cluster")
		if err != nil {
			return err
		}
		if err := s.required("master", master, "name the server that takes the writes, as HOST:PORT"); err != nil {
			return err
		}
		if err := s.reason(a); err != nil {
			return err
		}
		request := wire.AdoptRequest{Cluster: cluster, Asker: a.Asker}
		if request.Master, err = optionalKey("--master", master); err != nil {
			return err
		}
		return s.post(wire.PathAdopt, request)
	})
	command.Flags().StringVar(&master, "master", "", "who takes the writes, HOST:PORT (required)")
	a.flags(command, env, true)
	return command
}
