package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// mercy is how long a command that was told to end has until it is killed, and
// then until it is given up.
const mercy = time.Second

// process is a command that runs in a process group of its own.
type process struct {
	pid int
	// exited is closed once the shell has ended, and then err says how; drained
	// once nobody holds its output any more.
	exited, drained chan struct{}
	err             error
	reader          *os.File
	output          *output
}

// run runs a script until it has ended and its output too, or the time is up.
// What it left in the background counts, as long as that holds the output.
func (h *Hooks) run(ctx context.Context, script string, env []string) (string, error) {
	p, err := start(h.cfg.Shell, script, env)
	if err != nil {
		return "", fmt.Errorf("it cannot be started: %w", err)
	}
	err = p.await(ctx, h.cfg.Timeout)
	return p.output.String(), err
}

func start(shell, script string, env []string) (*process, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The space keeps a script that begins with a dash from being an option.
	cmd := exec.Command(shell, "-c", " "+script)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, writer, writer
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	// The command has its own copy; the end of the output is seen without ours.
	closed := writer.Close()
	if err != nil {
		return nil, errors.Join(err, closed, reader.Close())
	}
	p := &process{
		pid: cmd.Process.Pid, exited: make(chan struct{}), drained: make(chan struct{}),
		reader: reader, output: &output{},
	}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	go func() {
		defer close(p.drained)
		// It ends with the output, or when the reader is closed; neither is an error.
		_, _ = io.Copy(p.output, p.reader)
	}()
	return p, nil
}

// await returns how the command ended. At the timeout, or the end of ctx, its
// whole group is told to end, and then killed. A process that cannot be killed
// (it hangs in the kernel) or that has left the group is not waited for.
func (p *process) await(ctx context.Context, timeout time.Duration) error {
	defer func() {
		// The copy ends here where somebody outside the group holds the other end.
		_ = p.reader.Close()
		<-p.drained
	}()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if p.ended(limited) {
		return how(p.err)
	}
	why := fmt.Errorf("it did not end within %s and was killed", timeout)
	if ctx.Err() != nil {
		why = fmt.Errorf("it was killed: %w", ctx.Err())
	}
	select {
	case <-p.exited:
		why = fmt.Errorf("it left processes behind that hold its output; %w", why)
	default:
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(-p.pid, signal); errors.Is(err, syscall.ESRCH) {
			break // Whoever holds the output has left the group.
		} else if err != nil {
			why = fmt.Errorf("%w (%s: %w)", why, signal, err)
		}
		// Not the caller's context, which may be what has ended.
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), mercy)
		over := p.ended(patience)
		cancel()
		if over {
			break
		}
	}
	return why
}

// ended waits for the command and for its output.
func (p *process) ended(ctx context.Context) bool {
	for _, c := range []chan struct{}{p.exited, p.drained} {
		select {
		case <-c:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// how puts the end of a command into words.
func how(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return fmt.Errorf("it ended with exit code %d", exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("it failed: %w", err)
	}
	return nil
}
