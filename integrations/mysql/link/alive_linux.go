package link

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged counts what was sent, or is to be sent, and not acknowledged:
// bytes in the send queue.
func unacknowledged(conn *net.TCPConn) (bytes int, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		bytes, failed = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	}); err != nil || failed != nil {
		return 0, false
	}
	return bytes, true
}
