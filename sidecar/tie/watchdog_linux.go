package tie

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"switchyard/sidecar/guard"
	"switchyard/sidecar/lease"
)

// What a watchdog inherits.
const (
	pidFD      = 3
	listenerFD = 4
)

// look is how late a watchdog may notice that time is up.
const look = 25 * time.Millisecond

// start starts a watchdog on p, which outlives this process.
func (t *Tie) start(p guard.Process) (err error) {
	held, ok := p.(Held)
	if !ok {
		return errors.New("the process is not held by a pidfd")
	}
	pidfd, err := held.Descriptor()
	if err != nil {
		return err
	}
	defer pidfd.Close() //nolint:errcheck // a pidfd has nothing to write
	if err := unix.PidfdSendSignal(int(pidfd.Fd()), 0, nil, 0); err != nil {
		return fmt.Errorf("this user may not kill the server (%w): run the sidecar as the server's own, or with CAP_KILL", err)
	}
	if err := os.Remove(t.cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.cfg.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close() //nolint:errcheck // the watchdog has its own
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // the watchdog has its own
	command := append(slices.Clone(t.cfg.Command), strconv.Itoa(p.PID()))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{pidfd, file}
	// A session of its own: what ends the sidecar's group must not end this.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.started = append(t.started, cmd.Process.Pid)
	t.log.Info("a watchdog holds the server", "pid", p.PID(), "watchdog", cmd.Process.Pid)
	return cmd.Process.Release()
}

// reap takes note of watchdogs that have ended with their server.
func (t *Tie) reap() {
	t.started = slices.DeleteFunc(t.started, func(pid int) bool {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		return got == pid || err != nil
	})
}

// watchdog holds one process, until when it is told.
type watchdog struct {
	mu   sync.Mutex
	at   lease.Instant
	conn net.Conn // the newest
}

// Watch is the watchdog: it ends the process with this id, whose pidfd it
// inherited, at the instant that it was last told. It returns when the process
// is gone. Signals that end a sidecar do not end it.
func Watch(pid int) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	clock, err := guard.BootClock()
	if err != nil {
		return err
	}
	file := os.NewFile(listenerFD, "listener")
	listener, err := net.FileListener(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("what the sidecar gave: %w; it is started by a sidecar only", err)
	}
	w := &watchdog{at: lease.Never}
	var serving sync.WaitGroup
	serving.Go(func() { w.serve(listener, pid, &serving) })
	err = w.hold(clock)
	err = errors.Join(err, listener.Close())
	w.replace(nil)
	serving.Wait()
	return err
}

// hold waits for the end of the process, and brings it about when it is time. A
// short wait each, since a timer stands still while the host is suspended.
func (w *watchdog) hold(clock func() lease.Instant) error {
	fds := []unix.PollFd{{Fd: pidFD, Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(look/time.Millisecond))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("watch the server: %w", err)
		}
		w.mu.Lock()
		at := w.at
		w.mu.Unlock()
		if clock() < at {
			continue
		}
		if err := unix.PidfdSendSignal(pidFD, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill the server: %w", err)
		}
	}
}

// serve hears the sidecar; a new run of it takes the place of the last.
func (w *watchdog) serve(listener net.Listener, pid int, serving *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		w.replace(conn)
		serving.Go(func() { w.hear(conn, pid) })
	}
}

func (w *watchdog) replace(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.Close() // whoever was there is heard no more
	}
	w.conn = conn
}

func (w *watchdog) hear(conn net.Conn, pid int) {
	defer conn.Close() //nolint:errcheck // closed twice is closed
	var word [8]byte
	binary.BigEndian.PutUint64(word[:], uint64(pid))
	for {
		if _, err := conn.Write(word[:]); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, word[:]); err != nil {
			return
		}
		w.mu.Lock()
		mine := w.conn == conn
		if mine {
			w.at = lease.Instant(binary.BigEndian.Uint64(word[:]))
		}
		w.mu.Unlock()
		if !mine {
			return
		}
	}
}
