package app

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestOneSidecarInADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := own(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own(dir); err == nil || !strings.Contains(err.Error(), "another sidecar runs in it") {
		t.Errorf("a second sidecar in %s: %v", dir, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := own(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
