// Package routes holds the words of routing: the epoch, and the table that
// says where a cluster's traffic goes. It is pure.
package routes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Epoch orders the masters of a cluster. The number rises with every claimed
// recovery; the generation rises when a ledger is bootstrapped again, so that
// no epoch is ever issued twice.
type Epoch struct {
	Generation uint64 `json:"generation"`
	Number     uint64 `json:"number"`
}

// Compare returns -1, 0 or +1 as e is older than, the same as, or newer than o.
func (e Epoch) Compare(o Epoch) int {
	return cmp.Or(cmp.Compare(e.Generation, o.Generation), cmp.Compare(e.Number, o.Number))
}

// Next returns the epoch that follows e in the same generation.
func (e Epoch) Next() Epoch { return Epoch{Generation: e.Generation, Number: e.Number + 1} }

// IsZero reports whether e was never issued.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String returns "generation.number", the form that ParseEpoch reads.
func (e Epoch) String() string {
	return strconv.FormatUint(e.Generation, 10) + "." + strconv.FormatUint(e.Number, 10)
}

// ParseEpoch reads the form that String writes.
func ParseEpoch(text string) (Epoch, error) {
	generation, number, found := strings.Cut(text, ".")
	if !found {
		return Epoch{}, fmt.Errorf("epoch %q: want GENERATION.NUMBER", text)
	}
	g, err := strconv.ParseUint(generation, 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("epoch %q: generation: %w", text, err)
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("epoch %q: number: %w", text, err)
	}
	return Epoch{Generation: g, Number: n}, nil
}
