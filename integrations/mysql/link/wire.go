package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// wire is the socket under the driver. It reads the greeting itself, because
// the driver trusts whoever answers (and indexes what it got), and it keeps the
// error that ended the connection, because the driver does not tell it.
type wire struct {
	net.Conn
	greeted  atomic.Bool
	greeting bytes.Reader // what was read of the greeting, for the driver; one reader at a time
	begun    bool

	mu   sync.Mutex
	last error
	// acked is whether the other host had taken all that was sent when the
	// driver closed the socket.
	acked bool
}

// Close closes the socket. The driver does so when a context ends, before
// anybody can ask whether the other host still answered.
func (w *wire) Close() error {
	acked := acknowledged(w.Conn)
	w.mu.Lock()
	w.acked = w.acked || acked
	w.mu.Unlock()
	return w.Conn.Close()
}

// taken reports whether the other host took all that was sent.
func (w *wire) taken() bool {
	w.mu.Lock()
	acked := w.acked
	w.mu.Unlock()
	return acked || acknowledged(w.Conn)
}

// maxGreeting is far more than any server's greeting takes.
const maxGreeting = 4096

// Read serves the greeting once it proved to be one, then the socket.
func (w *wire) Read(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		packet, err := readGreeting(w.Conn)
		if err != nil {
			w.keep(err)
			return 0, err
		}
		w.greeted.Store(true)
		w.greeting.Reset(packet)
	}
	if w.greeting.Len() > 0 {
		return w.greeting.Read(p)
	}
	n, err := w.Conn.Read(p)
	w.keep(err)
	return n, err
}

// Write writes to the socket.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.keep(err)
	return n, err
}

// keep remembers the first error: what comes after it is its echo.
func (w *wire) keep(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = err
	}
}

func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// readGreeting reads the first packet and checks that the driver can read it.
func readGreeting(r io.Reader) ([]byte, error) {
	header := make([]byte, 4)
	if n, err := io.ReadFull(r, header); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w (it sent %q and closed)", errNotMySQL, header[:n])
		}
		return nil, err
	}
	size := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if size < 3 || size > maxGreeting || header[3] != 0 {
		return nil, fmt.Errorf("%w (it began with %q)", errNotMySQL, header)
	}
	packet := append(header, make([]byte, size)...)
	if _, err := io.ReadFull(r, packet[4:]); err != nil {
		return nil, err
	}
	if !validGreeting(packet[4:]) {
		return nil, errNotMySQL
	}
	return packet, nil
}

// validGreeting tells whether body is an error packet or a version 10
// handshake that is long enough for its fixed fields.
func validGreeting(body []byte) bool {
	const (
		errorPacket = 0xff
		version10   = 10
		// connection id, first part of the salt, filler, lower capabilities
		shortFields = 4 + 8 + 1 + 2
		// charset, status, upper capabilities, salt length, reserved, rest of the salt
		longFields = 1 + 2 + 2 + 1 + 10 + 13
	)
	if body[0] == errorPacket {
		return true
	}
	if body[0] != version10 {
		return false
	}
	end := bytes.IndexByte(body[1:], 0)
	if end <= 0 {
		return false
	}
	rest := len(body) - (1 + end + 1)
	return rest == shortFields || rest >= shortFields+longFields
}
