package sqlite

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// sumOf is the checksum of a row: of whose it is, and of what is in it.
func sumOf(parts ...string) int64 {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, part := range parts {
		// With its length, so that nothing moves from one part into the next.
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		sum.Write([]byte(part))
	}
	return int64(sum.Sum32())
}

// sumOfMeta is the checksum of meta's one row.
func sumOfMeta(cfg Config, at Position) int64 {
	return sumOf("meta", cfg.LedgerID, cfg.NodeID, fmt.Sprint(at.Index), fmt.Sprint(at.Term))
}

// fits reports whether a row is as it was written; an earlier release wrote no sum.
func fits(stored sql.NullInt64, sum int64) bool { return !stored.Valid || stored.Int64 == sum }
