package codec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"switchyard/store/ledger"
)

// DigestVersion is what digests are compared under: those of two versions say
// nothing of each other. It changes when an equal state gets another digest. 1: SHA-256
// of the state's JSON, in which a family without records is the same as none.
const DigestVersion = 1

// Digest returns the same text for equal states, however they came about, and
// different ones for others. It costs as much as writing the state.
func Digest(s ledger.State) (string, error) {
	s.Clusters, s.Servers = orNil(s.Clusters), orNil(s.Servers)
	s.Recoveries, s.Confirmations = orNil(s.Recoveries), orNil(s.Confirmations)
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(&s); err != nil {
		return "", fmt.Errorf("digest of the state: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// orNil makes a family that was emptied, or read from a file, like one that never
// had a record.
func orNil[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return nil
	}
	return m
}
