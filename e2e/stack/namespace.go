package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// within does something on a thread that is in a network namespace for as long; sockets and children that are made
// meanwhile belong there.
func within(home, space *os.File, do func() error) error {
	runtime.LockOSThread()
	if err := enter(space); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := do()
	if back := enter(home); back != nil {
		return errors.Join(err, back) // the thread stays locked: it must not serve anybody else
	}
	runtime.UnlockOSThread()
	return err
}

func enter(space *os.File) error {
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// newNamespace makes a network namespace that lives as long as the file is open, or something is in it.
func newNamespace(home *os.File) (space *os.File, err error) {
	err = within(home, home, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		space, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return space, err
}

// pathOf names a namespace to other programs.
func pathOf(space *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), space.Fd()) }

// ipBatch runs commands of ip in a namespace, one after another.
func ipBatch(ctx context.Context, home, space *os.File, commands ...string) error {
	_, err := runWithin(ctx, home, space, strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
	return err
}

func runWithin(ctx context.Context, home, space *os.File, input, name string, args ...string) (string, error) {
	path, err := program("run `make deps-net`, or `apt-get install iproute2 iptables`", name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &said, &said
	err = within(home, space, cmd.Start) // a child is where the thread is that starts it
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return said.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return said.String(), nil
}
