package wire

import "net/http"

// Code names a kind of error, for programs.
type Code string

// The codes of the door's errors.
const (
	BadRequest   Code = "bad_request"
	Unauthorized Code = "unauthorized"
	// Forbidden: the caller is known, and its role may not do this.
	Forbidden Code = "forbidden"
	// TooManyLogins: so many from there have failed that this one was not looked at.
	TooManyLogins    Code = "too_many_logins"
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
	RequestTimeout   Code = "request_timeout"
	// Conflict: the request is well formed, and what is asked cannot be done
	// as things stand (a recovery is open, the server already is the master).
	Conflict Code = "conflict"
	// Refused: a safety rule or the operator's policy says hold.
	Refused  Code = "refused"
	TooLarge Code = "too_large"
	Internal Code = "internal"
	// NotLeader: only the leader may do this, and this controller is not.
	NotLeader Code = "not_leader"
	// NoLeader: this controller knows no leader to forward to.
	NoLeader Code = "no_leader"
	// LeaderUnreachable: the leader was asked and did not answer.
	LeaderUnreachable Code = "leader_unreachable"
	// Busy: a limit on simultaneous calls is reached.
	Busy Code = "busy"
	// Unavailable: this controller cannot answer now.
	Unavailable Code = "unavailable"
	// Failed: what was asked was begun, and a server did not go along.
	Failed Code = "failed"
	// Timeout: the work did not end within its deadline.
	Timeout Code = "timeout"
)

// Codes returns all of them.
func Codes() []Code {
	return []Code{
		BadRequest, Unauthorized, TooManyLogins, Forbidden, NotFound, MethodNotAllowed, RequestTimeout, Conflict, Refused, TooLarge, Internal,
		NotLeader, NoLeader, LeaderUnreachable, Busy, Unavailable, Failed, Timeout,
	}
}

// Status is the HTTP status that goes with c.
func (c Code) Status() int {
	switch c {
	case BadRequest:
		return http.StatusBadRequest
	case Unauthorized:
		return http.StatusUnauthorized
	case TooManyLogins:
		return http.StatusTooManyRequests
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case RequestTimeout:
		return http.StatusRequestTimeout
	case Conflict, Refused:
		return http.StatusConflict
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case NotLeader, NoLeader, LeaderUnreachable, Busy, Unavailable, Timeout:
		return http.StatusServiceUnavailable
	case Failed:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// Error is every answer of the door that is not a success: what is wrong, and
// what to do about it, in a sentence each.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// NewError returns an Error.
func NewError(code Code, message, remedy string) *Error {
	return &Error{Code: code, Message: message, Remedy: remedy}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + "; " + e.Remedy
}
