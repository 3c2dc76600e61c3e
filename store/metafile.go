package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// metaName is the file in which raft-wal keeps its list of segments, and raft
// its term and vote. It is a bbolt database.
const metaName = "wal-meta.db"

// What bbolt puts on its first two pages, of which the newer one that is whole
// counts: a page header, then these fields and a checksum over them.
const (
	boltPageHeader = 16
	boltMetaBytes  = 56
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltMinPage    = 512
	boltMaxPage    = 64 << 10
)

type boltMeta struct {
	pageSize, pages, transaction uint64
}

// checkMeta makes sure that the file is a bbolt database and as long as it
// says it is. bbolt maps the file into memory and looks at pages without
// asking for the file's size: one that was cut ends the process.
func checkMeta(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	newest, found := boltMeta{}, false
	for _, offset := range metaOffsets(file) {
		meta, ok := readMeta(file, offset)
		if ok && (!found || meta.transaction > newest.transaction) {
			newest, found = meta, true
		}
	}
	if !found {
		return fmt.Errorf("%s has %d bytes and no valid head", path, info.Size())
	}
	if want := newest.pages * newest.pageSize; uint64(info.Size()) < want {
		return fmt.Errorf("%s has %d bytes and should have %d", path, info.Size(), want)
	}
	return nil
}

// metaOffsets returns where the two heads are: the second page's place depends
// on the page size, for which bbolt goes by the first, or else the system's.
func metaOffsets(file io.ReaderAt) []int64 {
	size := int64(os.Getpagesize())
	if meta, ok := readMeta(file, 0); ok {
		size = int64(meta.pageSize)
	}
	return []int64{0, size}
}

func readMeta(file io.ReaderAt, offset int64) (boltMeta, bool) {
	var page [boltPageHeader + boltMetaBytes + 8]byte
	if _, err := file.ReadAt(page[:], offset); err != nil {
		return boltMeta{}, false
	}
	body := page[boltPageHeader:]
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(body[:boltMetaBytes])
	meta := boltMeta{
		pageSize:    uint64(order.Uint32(body[8:])),
		pages:       order.Uint64(body[40:]),
		transaction: order.Uint64(body[48:]),
	}
	ok := order.Uint32(body) == boltMagic && order.Uint32(body[4:]) == boltVersion &&
		order.Uint64(body[boltMetaBytes:]) == sum.Sum64() &&
		meta.pageSize >= boltMinPage && meta.pageSize <= boltMaxPage && meta.pages < 1<<40
	return meta, ok
}
