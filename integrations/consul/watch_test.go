package consul

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pretend answers a watch as Consul does, with an index of the test's choosing.
func pretend(t *testing.T, index *atomic.Int64, asked *atomic.Value) *Consul {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := index.Load(); n > 0 {
			w.Header().Set("X-Consul-Index", fmt.Sprint(n))
		}
		if r.URL.Path != "/v1/txn" {
			asked.Store(r.URL.RawQuery)
			w.WriteHeader(http.StatusNotFound) // as for a key that is not there
			return
		}
		var results []string
		for i, value := range values(record(5, "db1")) {
			keys := []string{"/epoch", "", "/hostname", "/port", "/ipv4", "/ipv6", "/revision"}
			results = append(results, fmt.Sprintf(`{"KV":{"Key":"mysql/master/shop%s","Value":%q,"ModifyIndex":7}}`, keys[i],
				base64.StdEncoding.EncodeToString([]byte(value))))
		}
		_, _ = fmt.Fprintf(w, `{"Results":[%s]}`, strings.Join(results, ","))
	}))
	t.Cleanup(server.Close)
	return newConsul(t, Config{Datacenter: "dc1", Address: server.URL, Timeout: 5 * time.Second})
}

func TestWatchBeginsAnewWhenTheIndexGoesBack(t *testing.T) {
	var index atomic.Int64
	var asked atomic.Value
	c := pretend(t, &index, &asked)
	for _, step := range []struct {
		index      int64
		given      uint64
		want       uint64
		parameters string
	}{
		{40, 0, 40, "consistent"}, {41, 40, 41, "index=40"}, {41, 41, 41, "wait=30000ms"}, {3, 41, 0, "index=41"}, {3, 0, 3, "consistent"},
	} {
		index.Store(step.index)
		got, next, err := c.Watch(t.Context(), "shop", step.given, 30*time.Second)
		if err != nil || next != step.want || got != record(5, "db1") {
			t.Errorf("index %d after %d: %+v, %d, %v; want %d", step.index, step.given, got, next, err, step.want)
		}
		if query := asked.Load().(string); !strings.Contains(query, step.parameters) || !strings.Contains(query, "consistent") ||
			step.given == 0 && strings.Contains(query, "index=") {
			t.Errorf("index %d after %d: asked %q", step.index, step.given, query)
		}
	}
	index.Store(0)
	if _, next, err := c.Watch(t.Context(), "shop", 3, time.Second); err == nil || next != 0 || !strings.Contains(err.Error(), "no index") {
		t.Errorf("an answer without an index: %d, %v", next, err)
	}
	if _, _, err := c.Watch(t.Context(), "a/b", 0, time.Second); err == nil {
		t.Error("a cluster with a slash was watched")
	}
}

// TestWatchEndsWhereNobodyAnswers: an agent whose servers are gone answers
// nothing, and the wait is over all the same.
func TestWatchEndsWhereNobodyAnswers(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hang)
	c := newConsul(t, Config{Datacenter: "dc1", Address: server.URL, Token: "hush", Timeout: 50 * time.Millisecond})
	for _, index := range []uint64{0, 9} {
		_, next, err := c.Watch(t.Context(), "shop", index, time.Millisecond)
		if !errors.Is(err, context.DeadlineExceeded) || next != 0 || strings.Contains(err.Error(), "hush") {
			t.Errorf("index %d: %d, %v, want a deadline exceeded without the token", index, next, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := c.Watch(ctx, "shop", 9, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
