//go:build !linux

package link

import "net"

// unacknowledged is not known here.
func unacknowledged(*net.TCPConn) (bytes int, ok bool) { return 0, false }
