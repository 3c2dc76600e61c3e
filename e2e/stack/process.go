package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ProcessSpec says what to run. Standard output and error go to one log file each.
type ProcessSpec struct {
	// Name is a plain word that is unique in the stack; it names the directory the process runs in.
	Name string
	// Path is the program, Args its arguments without the program's name.
	Path string
	Args []string
	// Env is added to the environment of this process.
	Env []string
	// GID is the group it runs as; 0 keeps the caller's.
	GID uint32
	// Files are written to the process's directory before it starts: file name to content.
	Files map[string]string
}

// Process is a program that the stack started. It can be killed, frozen, ended, and started again as it was.
type Process struct {
	stack *Stack
	spec  ProcessSpec
	dir   string
	place *Host // nil for where the stack is

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// StartProcess makes the directory of a process, writes its files and starts it there. It does not wait until the
// program is ready; see WaitFor.
func (s *Stack) StartProcess(ctx context.Context, spec ProcessSpec) (*Process, error) {
	p, err := s.prepare(spec)
	if err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *Stack) prepare(spec ProcessSpec) (*Process, error) {
	dir, err := s.folder(spec.Name)
	if err != nil {
		return nil, err
	}
	for name, content := range spec.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("write %s of %s: %w", name, spec.Name, err)
		}
	}
	p := &Process{stack: s, spec: spec, dir: dir}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the stack is closed")
	}
	p.place = s.places[spec.Name]
	s.procs = append(s.procs, p)
	return p, nil
}

// Name is the name that the process was given.
func (p *Process) Name() string { return p.spec.Name }

// Dir is the directory in which the process runs.
func (p *Process) Dir() string { return p.dir }

// Pid is the id of the running (or last run) process, 0 before the first start.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Running tells whether the process was started and has not ended; a frozen one counts as running.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Start runs the program again, after its predecessor has ended.
func (p *Process) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s runs already", p.spec.Name)
	}
	p.stack.mu.Lock()
	defer p.stack.mu.Unlock()
	if p.stack.closed {
		return errors.New("the stack is closed")
	}
	logFile, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.spec.Name, err)
	}
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), p.spec.Env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A process group of its own: Ctrl-C in a terminal reaches the stack's owner only, who then ends the rest.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.spec.GID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(os.Getuid()), Gid: p.spec.GID, NoSetGroups: true}
	}
	started := make(chan error)
	p.stack.starts <- func() { started <- p.launch(cmd) }
	err = <-started
	closeErr := logFile.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		waitErr := cmd.Wait()
		p.mu.Lock()
		p.err = waitErr
		p.mu.Unlock()
		close(done)
	}()
	p.stack.log("started %s (pid %d)", p.spec.Name, cmd.Process.Pid)
	return closeErr
}

// launch starts the program on its host, from the thread that starts all.
func (p *Process) launch(cmd *exec.Cmd) error {
	if p.place == nil {
		return cmd.Start()
	}
	return within(p.place.net.home, p.place.space, cmd.Start)
}

// Place is where the process runs; nil where the stack itself is.
func (p *Process) Place() *Host { return p.place }

// reach connects to an address of the process from where it runs: a cut network is no reason to wait.
func (p *Process) reach(ctx context.Context, address string) error {
	dial := (&net.Dialer{}).DialContext
	if p.place != nil {
		dial = p.place.Dial
	}
	conn, err := dial(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Wait waits until the process has ended; how it ended is not an error.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", p.spec.Name, ctx.Err())
	}
}

// ExitCode is the exit code of the process that ended last; -1 when it was ended by a signal or has not ended.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.ProcessState == nil || p.running() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *Process) signal(signals ...syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return nil
	}
	for _, sig := range signals {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal %s to %s: %w", sig, p.spec.Name, err)
		}
	}
	return nil
}

// Kill ends the process with SIGKILL and does not wait for the kernel to have torn it down. A process that has ended
// already is no error.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL) }

// Freeze stops the process with SIGSTOP: its connections stay open and nothing answers.
// It returns when every thread of it has stopped: the signal alone leaves them a moment in which they may still answer.
func (p *Process) Freeze() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pid := p.Pid()
	for deadline := time.Now().Add(5 * time.Second); !stopped(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("freeze %s (pid %d): it has not stopped", p.Name(), pid)
		}
	}
	return nil
}

// stopped tells whether no thread of a process runs any more; on systems that do not say, it is taken to be so.
func stopped(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		// The state is what follows the name, which is in parentheses and may hold any character.
		rest := stat[bytes.LastIndexByte(stat, ')')+1:]
		if fields := bytes.Fields(rest); len(fields) > 0 && !bytes.ContainsAny(fields[0], "TtZX") {
			return false
		}
	}
	return true
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

// Stop asks the process to end (thawing it first), waits for it, and kills it when ctx ends before it does.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGCONT, syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

func (p *Process) logPath() string { return filepath.Join(p.dir, "output.log") }

// Output is the end (at most 64 KiB) of what the process wrote to standard output and standard error.
func (p *Process) Output() string { return tail(p.logPath()) }

func tail(path string) string {
	const limit = 64 << 10
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer func() { _ = file.Close() }()
	if size, err := file.Seek(0, io.SeekEnd); err == nil && size > limit {
		_, err = file.Seek(-limit, io.SeekEnd)
		if err != nil {
			return fmt.Sprintf("(log not readable: %v)", err)
		}
	} else if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Sprintf("(log not readable: %v)", err)
	}
	content, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return fmt.Sprintf("(log not readable: %v)", err)
	}
	return string(bytes.TrimSpace(content))
}

// lastLines keeps an error message readable: the end of a log without its beginning.
func lastLines(log string, count int) string {
	lines := bytes.Split([]byte(log), []byte("\n"))
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// WaitFor asks until check answers nil, the process ends, or ctx does. The error carries the last answer and the end
// of the log.
func (p *Process) WaitFor(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := check(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if !p.Running() {
			return fmt.Errorf("%s ended before %s; its log ends:\n%s", p.Name(), what, lastLines(p.Output(), 15))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %s not reached: %w (last: %w); its log ends:\n%s",
				p.Name(), what, ctx.Err(), err, lastLines(p.Output(), 15))
		case <-ticker.C:
		}
	}
}
