package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// SignRequest proves that the caller of an internal call holds secret, without
// sending it. The nonce is the caller's, and new for each call.
func SignRequest(secret, method, path, nonce string, body []byte) string {
	return sign(secret, "request", method, path, nonce, string(body))
}

// SignReply proves that the reply to the call with this nonce comes from a
// holder of secret, so that nobody else can testify that a master is dead.
func SignReply(secret, nonce string, status int, body []byte) string {
	return sign(secret, "reply", nonce, strconv.Itoa(status), string(body))
}

// Forwarding is what a controller says of a call that it forwards: whom it has
// found the caller to be.
type Forwarding struct {
	From, User string
	Role       UserRole
	// Sent is when, in seconds since 1970, so that what was heard cannot be said
	// again for ever.
	Sent string
}

// SignForward proves that a holder of secret forwards this call for this user.
func SignForward(secret, method, path, nonce string, body []byte, f Forwarding) string {
	return sign(secret, "forward", method, path, nonce, string(body), f.From, f.User, string(f.Role), f.Sent)
}

// VerifySignature compares signatures in constant time. An empty secret
// verifies nothing.
func VerifySignature(secret, got, want string) bool {
	return secret != "" && hmac.Equal([]byte(got), []byte(want))
}

// sign writes each part behind its length, so that no two lists of parts give
// the same bytes.
func sign(secret string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}
