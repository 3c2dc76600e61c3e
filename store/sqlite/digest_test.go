package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// A controller that restarts reads its ledger from the file, and has to say the same
// digest as before, after every command.
func TestDigestComesBack(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "state.db"))
	var s ledger.State
	for i, cmd := range history() {
		next, changes, err := ledger.Apply(s, cmd)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(context.Background(), changes, Position{Index: uint64(i + 3), Term: 2}); err != nil {
			t.Fatal(err)
		}
		s = next
		read, _, err := d.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		want, err := codec.Digest(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.Digest(read); err != nil || got != want {
			t.Fatalf("after %s: %s came back as %s, %v", cmd.Kind(), want, got, err)
		}
	}
}
