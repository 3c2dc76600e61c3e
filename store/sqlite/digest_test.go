package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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

// One bit that flips anywhere in the file is either of no consequence, or found.
func TestFlippedBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	want := fill(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	harmless, found := 0, 0
	// A step that shares no factor with a page visits all kinds of places.
	for at := 0; at < len(whole); at += 211 {
		flipped := slices.Clone(whole)
		flipped[at] ^= 1 << (at % 8)
		damaged := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(damaged, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := read(damaged)
		switch {
		case err == nil && !reflect.DeepEqual(got, want):
			t.Errorf("bit %d of byte %d: %+v came back as %+v", at%8, at, want, got)
		case err == nil:
			harmless++
		default:
			found++
			if !strings.Contains(err.Error(), damaged) {
				t.Errorf("bit %d of byte %d: the file is not named: %v", at%8, at, err)
			}
		}
	}
	t.Logf("%d were harmless, %d were found", harmless, found)
	if harmless < 10 || found < 10 {
		t.Errorf("%d harmless, %d found: the cases are not what they were meant to be", harmless, found)
	}
}

func read(path string) (ledger.State, error) {
	d, err := Open(context.Background(), Config{Path: path, LedgerID: "prod", NodeID: "c1"})
	if err != nil {
		return ledger.State{}, err
	}
	s, _, err := d.Load(context.Background())
	return s, errors.Join(err, d.Close())
}
