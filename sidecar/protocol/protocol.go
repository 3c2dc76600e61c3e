// Package protocol is the wire of the sidecars: what one beside a database says
// to the controllers and to the other database sidecars of its cluster, and what
// one beside a proxy and the controllers say to each other, in version 1.
// PROTOCOL.md beside it is the text. It is pure.
package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Version is the version that this release speaks, and the only one it reads.
const Version = 1

// MaxMessage is the longest message, in bytes.
const MaxMessage = 64 << 10

// The paths, each for POST. Renewals and reports go to a controller's door,
// the others to a sidecar's.
const (
	PathRenew  = "/internal/v1/lease/renew"
	PathExit   = "/internal/v1/lease/exit"
	PathFollow = "/internal/v1/lease/follow"
	PathPart   = "/internal/v1/lease/part"
)

// ErrVersion is returned, wrapped, for a message of another version.
var ErrVersion = errors.New("another version of the sidecars' protocol")

// errTooLong is wrapped by the refusal to write a message that nobody would read.
var errTooLong = errors.New("too long")

// Message is one of the messages.
type Message interface {
	Renew | RenewReply | Exit | ExitNoted | Follow | FollowReply | Part | PartReply |
		Apply | Read | Applied | Watch | Tables |
		Tail | TailReply
	// check says what is wrong with the message.
	check() error
}

// envelope comes first, so that a reader of one version can say so to a writer
// of another before it stumbles over a field.
type envelope struct {
	Version int             `json:"version"`
	Message json.RawMessage `json:"message"`
}

// Encode writes a message. One that the other side would refuse is refused here.
func Encode[M Message](m M) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name(m), err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name(m), err)
	}
	data, err := json.Marshal(envelope{Version: Version, Message: body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name(m), err)
	}
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("encode %s: %w: %d bytes, want at most %d", name(m), errTooLong, len(data), MaxMessage)
	}
	return data, nil
}

// Decode reads a message. What it does not know in full it refuses: a promise
// that is understood in part is none.
func Decode[M Message](data []byte) (M, error) {
	var m, none M
	if len(data) > MaxMessage {
		return none, fmt.Errorf("decode %s: %d bytes, want at most %d", name(m), len(data), MaxMessage)
	}
	var e envelope
	if err := strict(data, &e); err != nil {
		return none, fmt.Errorf("decode %s: %w", name(m), err)
	}
	if e.Version != Version {
		return none, fmt.Errorf("decode %s: version %d, this release speaks version %d: %w", name(m), e.Version, Version, ErrVersion)
	}
	if len(e.Message) == 0 {
		return none, fmt.Errorf("decode %s: there is no message", name(m))
	}
	if err := strict(e.Message, &m); err != nil {
		return none, fmt.Errorf("decode %s: %w", name(m), err)
	}
	if err := m.check(); err != nil {
		return none, fmt.Errorf("decode %s: %w", name(m), err)
	}
	return m, nil
}

func name(m any) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "protocol."))
}

// strict reads exactly one JSON value with known fields only.
func strict(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the bytes end too early")
		}
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there are bytes after the end, from byte %d on", decoder.InputOffset())
	}
	return nil
}
