package leases

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a book in a file of its own, which is replaced whole.
type File string

// Read implements Book.
func (f File) Read() ([]byte, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(data) == 0 {
		// It is only ever replaced by a whole one: what was in it is lost.
		err = errors.New("it is empty")
	}
	return data, err
}

// Write implements Book: what was written is on the disk when it returns.
func (f File) Write(data []byte) (err error) {
	dir := filepath.Dir(string(f))
	next, err := os.CreateTemp(dir, filepath.Base(string(f))+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", f, err)
	}
	_, err = next.Write(data)
	if err == nil {
		err = next.Sync()
	}
	err = errors.Join(err, next.Close())
	if err == nil {
		err = os.Rename(next.Name(), string(f))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f, errors.Join(err, os.Remove(next.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", f, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f, err)
	}
	return nil
}
