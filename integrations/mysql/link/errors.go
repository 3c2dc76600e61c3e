package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/go-sql-driver/mysql"

	"switchyard/controller/topology"
)

// Error is an attempt to talk to a server that failed. It never holds a password.
type Error struct {
	Address topology.Key
	reach   topology.Reach
	doing   string
	err     error
}

// Error says what failed, where and why, in one sentence.
// What the server sent is kept to one line, whatever it sent.
func (e *Error) Error() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, fmt.Sprintf("%s: %s: %v", e.Address, e.doing, e.err))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Reach returns how the attempt ended; it is never topology.ReachOK.
func (e *Error) Reach() topology.Reach { return e.reach }

// ServerError returns the number of the error that the server answered with,
// or 0 where it did not answer.
func ServerError(err error) uint16 {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) {
		return answer.Number
	}
	return 0
}

// errNotMySQL is what an address gets that speaks, but something else.
var errNotMySQL = errors.New("not a MySQL server: it does not greet as one")

// fail explains err. The wire knows what the driver hides: that says only
// "invalid connection" of whatever befell the socket.
func (c *Conn) fail(ctx context.Context, doing string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if vague(err) && c.wire != nil {
		if cause := c.wire.cause(); cause != nil {
			err = cause
		} else if c.wire.greeted.Load() {
			err = fmt.Errorf("connection lost: %w", err)
		}
	}
	if ctxErr := ctx.Err(); ctxErr != nil && (vague(err) || errors.Is(err, net.ErrClosed)) {
		err = ctxErr
	}
	e := &Error{Address: c.Address, reach: classify(err), doing: doing, err: err}
	if e.reach != topology.ReachTimeout || c.wire == nil || isErrno(err) {
		return e
	}
	if !c.wire.greeted.Load() {
		e.reach = topology.ReachHung
		e.doing += ": connected, and no MySQL greeting came (frozen, overloaded, or not a MySQL server)"
	} else if c.wire.taken() {
		return e.Hung()
	}
	return e
}

// unsent is the error of a statement that came too late to be sent. It says
// nothing of the server, and the connection is as good as before.
func (c *Conn) unsent() *Error {
	return &Error{Address: c.Address, reach: topology.ReachError, doing: "not sent", err: context.DeadlineExceeded}
}

func vague(err error) bool {
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)
}

// isErrno reports whether the kernel gave the connection up.
func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func classify(err error) topology.Reach {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) {
		return classifyAnswer(answer.Number)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return topology.ReachUnresolved
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, os.ErrDeadlineExceeded) {
		return topology.ReachTimeout
	}
	for _, errno := range []syscall.Errno{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, errno) {
			return topology.ReachTimeout // nobody answered for the host
		}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return topology.ReachRefused
	}
	if errors.Is(err, errNotMySQL) || isTLS(err) {
		return topology.ReachError
	}
	for _, lost := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE,
		mysql.ErrInvalidConn, driver.ErrBadConn,
	} {
		if errors.Is(err, lost) {
			return topology.ReachBroken
		}
	}
	return topology.ReachError
}

func isTLS(err error) bool {
	var (
		alert  tls.AlertError
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		name   x509.HostnameError
		issuer x509.UnknownAuthorityError
	)
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &verify) ||
		errors.As(err, &name) || errors.As(err, &issuer)
}

// classifyAnswer sorts the errors with which a living server answers.
func classifyAnswer(number uint16) topology.Reach {
	switch number {
	case 1044, 1045, 1130, 1142, 1143, 1227, 1370, 1698, // access denied
		1820, 1862, // the password has expired
		3118, 4151: // the account is locked
		return topology.ReachDenied
	case 1053, 1152, 1184, 1927, 3169, 4031: // shutdown, aborted, killed, idle too long
		return topology.ReachBroken
	}
	return topology.ReachError
}

// Lost reports whether err means that the connection is no more.
func Lost(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.reach.Dead()
}

// NewError returns an *Error for what failed beside a connection.
func NewError(address topology.Key, doing string, err error) *Error {
	return &Error{Address: address, reach: classify(err), doing: doing, err: err}
}

// Reason returns the cause of err without the address.
func Reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.err.Error()
	}
	return err.Error()
}
