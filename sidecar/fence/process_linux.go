package fence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process that is held by a pidfd: whatever happens to its pid, it
// stays this one.
type Process struct {
	pid  int
	fd   int
	file string // its pid file

	mu     sync.Mutex
	closed bool
	users  sync.WaitGroup
}

// Find finds the server's process by who listens on its socket. It takes
// nothing from the server itself, so a frozen one is found too.
func Find(ctx context.Context, place Place) (*Process, error) {
	pid, err := listener(ctx, place.Socket)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, noProcess(err))
	}
	p := &Process{pid: pid, fd: fd, file: place.PIDFile}
	// Between the two the process could have ended, and its pid been given to
	// another one. Then it is not who listens now.
	again, err := listener(ctx, place.Socket)
	if err == nil && again != pid {
		err = fmt.Errorf("%s: the server is being replaced, process %d by %d: %w", place.Socket, pid, again, ErrNoProcess)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// listener returns the process that listens on a unix socket.
func listener(ctx context.Context, path string) (int, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return 0, fmt.Errorf("who listens on %s: %w", path, noProcess(err))
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("who listens on %s: %w", path, failed)
	}
	switch pid := int(peer.Pid); pid {
	case 0:
		return 0, fmt.Errorf("%s: its server is in another pid namespace: run the sidecar in the server's", path)
	case 1:
		return 0, fmt.Errorf("%s: process 1 made the socket, not the server: switch off its socket activation", path)
	case os.Getpid():
		return 0, fmt.Errorf("%s: this process itself listens there", path)
	default:
		return pid, nil
	}
}

// noProcess marks the errors that say that nobody is there.
func noProcess(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return err
}

// PID returns the process's id.
func (p *Process) PID() int { return p.pid }

// Close lets the process go, once nobody waits for it any more.
func (p *Process) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.mu.Unlock()
	p.users.Wait()
	_ = unix.Close(p.fd) // a pidfd has nothing to write
}

// use keeps the pidfd open until the returned function is called.
func (p *Process) use() (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("process %d: it was let go", p.pid)
	}
	p.users.Add(1)
	return p.users.Done, nil
}

// Kill sends SIGKILL, which ends a frozen process too. It needs the server's
// own user, or CAP_KILL.
func (p *Process) Kill() error {
	done, err := p.use()
	if err != nil {
		return err
	}
	defer done()
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Descriptor returns a pidfd of the process, for another one to inherit.
func (p *Process) Descriptor() (*os.File, error) {
	done, err := p.use()
	if err != nil {
		return nil, err
	}
	defer done()
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", p.pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Wait waits for the end of the process.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	done, err := p.use()
	if err != nil {
		return Exit{}, err
	}
	defer done()
	waker, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return Exit{}, fmt.Errorf("watch process %d: %w", p.pid, err)
	}
	defer unix.Close(waker) //nolint:errcheck // an eventfd has nothing to write
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(waker, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it takes 8 bytes at any time
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(waker), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Exit{}, fmt.Errorf("watch process %d: %w", p.pid, err)
		case fds[0].Revents != 0:
			return p.exit(), nil
		case ctx.Err() != nil:
			return Exit{}, context.Cause(ctx)
		}
	}
}

// exit says how the process ended.
func (p *Process) exit() Exit {
	if status, ok := p.status(); ok {
		switch {
		case status.Signaled():
			return Exit{Kind: Killed, Status: int(status.Signal())}
		case status.ExitStatus() != 0:
			return Exit{Kind: Failed, Status: status.ExitStatus()}
		default:
			return Exit{Kind: Clean}
		}
	}
	return p.byFile()
}

// status asks the kernel, which tells it from 6.15 on, to whoever held the
// pidfd when the process was reaped by its parent. That is waited for.
func (p *Process) status() (unix.WaitStatus, bool) {
	const patience = 50 * time.Millisecond
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := unix.IoctlPidfdInfo(p.fd, &info)
		switch {
		case err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0:
			return unix.WaitStatus(info.Exit_code), true
		case err != nil || time.Since(begun) > patience:
			return 0, false
		}
	}
}

// byFile goes by what a server does last in a shutdown: it removes its pid
// file. One that names another process says nothing.
func (p *Process) byFile() Exit {
	if p.file == "" {
		return Exit{Kind: Vanished}
	}
	if _, err := pidIn(p.file); errors.Is(err, fs.ErrNotExist) {
		return Exit{Kind: Clean}
	}
	return Exit{Kind: Vanished}
}
