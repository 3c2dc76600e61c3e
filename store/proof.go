package store

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

const nonceSize = 32

// The ends of a connection; a proof of one is none of the other, so that
// nobody is answered with its own.
const (
	dialer   = "dialer"
	acceptor = "acceptor"
)

// newNonce returns bytes that were never said before. rand.Read does not fail.
func newNonce() []byte {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce)
	return nonce
}

// transcript is what both ends have said: both nonces, both ids, the cluster,
// and what tells this TLS connection from all others. A proof is worth
// something in this one conversation only.
type transcript struct{ key, sum []byte }

func newTranscript(secret string, hello, challenge, binding []byte) transcript {
	// The secret signs other things too, hence a key for this purpose alone.
	derive := hmac.New(sha256.New, []byte(secret))
	derive.Write([]byte("switchyard raft greeting 2"))
	sum := sha256.New()
	for _, part := range [][]byte{hello, challenge, binding} {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		sum.Write(part)
	}
	return transcript{key: derive.Sum(nil), sum: sum.Sum(nil)}
}

// proof shows that an end knows the secret.
func (t transcript) proof(end string) []byte {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(end))
	mac.Write([]byte{0})
	mac.Write(t.sum)
	return mac.Sum(nil)
}

// shows reports whether proof is that of an end.
func (t transcript) shows(proof []byte, end string) bool { return hmac.Equal(proof, t.proof(end)) }
