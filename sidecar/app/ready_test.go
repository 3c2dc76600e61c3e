package app

import (
	"context"
	"testing"
	"time"

	"switchyard/sidecar/config"
)

func TestReady(t *testing.T) {
	f := &config.File{StateDir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := Ready(ctx, f); err != nil {
		t.Fatalf("no sidecar has ever run: %v", err)
	}
	h, err := openHold(f.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.set(true); err != nil || !h.held {
		t.Fatalf("held: %t, %v", h.held, err)
	}
	ready := make(chan error, 1)
	go func() { ready <- Ready(ctx, f) }()
	select {
	case err := <-ready:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	// A sidecar that ends, however it does, holds nobody.
	h.close()
	if err := <-ready; err != nil || ctx.Err() != nil {
		t.Fatalf("%v, %v", err, ctx.Err())
	}
}
