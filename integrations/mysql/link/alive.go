package link

import (
	"net"
	"time"

	"switchyard/controller/topology"
)

// ping is COM_PING as it goes over the wire.
var ping = []byte{1, 0, 0, 0, 0x0e}

// Nudge reports whether the other host's kernel takes what is sent to it now:
// then the host lives and can be reached, whatever its server does. It sends a
// ping on a connection whose query has not ended; a server that lives answers
// it after the query, to nobody. It takes no longer than patience.
func (c *Conn) Nudge(patience time.Duration) bool {
	if c.wire == nil {
		return false
	}
	deadline := time.Now().Add(patience)
	if err := c.wire.Conn.SetWriteDeadline(deadline); err != nil {
		return false
	}
	if _, err := c.wire.Conn.Write(ping); err != nil {
		return false
	}
	for {
		if acknowledged(c.wire.Conn) {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

// Hung returns e for a host that was seen to live.
func (e *Error) Hung() *Error {
	hung := *e
	hung.reach = topology.ReachHung
	hung.doing += ": its host answers, and the server does not"
	return &hung
}

// acknowledged reports whether the other host's kernel has taken all that was
// sent; false where that is not known.
func acknowledged(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	unsent, ok := unacknowledged(tcp)
	return ok && unsent == 0
}
