package invariants

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"switchyard/e2e/session"
	"switchyard/router/routes"
)

// Consumer follows a cluster's master by a Consul, as an application without a proxy does.
type Consumer struct {
	name, url string
	client    *http.Client

	mu        sync.Mutex
	sightings []Sighting
	reads     int
	failed    error
}

// Sighting is what a consumer read, kept where it differs from what it read before.
type Sighting struct {
	At     time.Time
	Master string
	Epoch  routes.Epoch
}

// NewConsumer reads the keys below PREFIX/CLUSTER, by dial (nil for from here); consistent asks Consul's leader to make sure that
// it leads.
func NewConsumer(name, address, key string, consistent bool, dial session.Dial) *Consumer {
	transport := &http.Transport{DialContext: dial, MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	c := &Consumer{name: name, url: address + "/v1/kv/" + key + "?recurse", client: &http.Client{Transport: transport, Timeout: 2 * time.Second}}
	if consistent {
		c.url += "&consistent"
	}
	return c
}

// Name is how the verdict calls it.
func (c *Consumer) Name() string { return c.name }

// Run reads until ctx ends.
func (c *Consumer) Run(ctx context.Context) {
	defer c.client.CloseIdleConnections()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		seen, err := c.read(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.failed = err
		if err == nil {
			c.reads++
			if last := len(c.sightings) - 1; last < 0 || c.sightings[last].Master != seen.Master || c.sightings[last].Epoch != seen.Epoch {
				c.sightings = append(c.sightings, seen)
			}
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Sightings are what it has read so far, and how often it has.
func (c *Consumer) Sightings() ([]Sighting, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Sighting(nil), c.sightings...), c.reads
}

// Last is what it read last, and why it could not read since.
func (c *Consumer) Last() (Sighting, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sightings) == 0 {
		return Sighting{}, fmt.Errorf("%s has read nothing yet: %w", c.name, c.failed)
	}
	return c.sightings[len(c.sightings)-1], c.failed
}

func (c *Consumer) read(ctx context.Context) (Sighting, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return Sighting{}, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return Sighting{}, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Sighting{}, fmt.Errorf("%s: %s", c.url, response.Status)
	}
	var pairs []struct {
		Key   string
		Value []byte
	}
	if err := json.NewDecoder(response.Body).Decode(&pairs); err != nil {
		return Sighting{}, err
	}
	seen := Sighting{At: time.Now()}
	for _, pair := range pairs {
		switch {
		case strings.HasSuffix(pair.Key, "/epoch"):
			if seen.Epoch, err = routes.ParseEpoch(string(pair.Value)); err != nil {
				return Sighting{}, err
			}
		case strings.HasSuffix(c.url, "/"+pair.Key+"?recurse"), strings.HasSuffix(c.url, "/"+pair.Key+"?recurse&consistent"):
			seen.Master = string(pair.Value)
		}
	}
	return seen, nil
}

// JudgeSightings holds that a consumer never saw an older master after a newer one, nor two of one epoch.
func JudgeSightings(name string, sightings []Sighting) (violations []string) {
	for i, seen := range sightings {
		if seen.Master == "" || seen.Epoch.IsZero() {
			violations = append(violations, fmt.Sprintf("%s read a master %q of epoch %s", name, seen.Master, seen.Epoch))
		}
		if i == 0 {
			continue
		}
		before := sightings[i-1]
		switch order := seen.Epoch.Compare(before.Epoch); {
		case order < 0:
			violations = append(violations, fmt.Sprintf("%s read %s of epoch %s after %s of epoch %s", name,
				seen.Master, seen.Epoch, before.Master, before.Epoch))
		case order == 0 && seen.Master != before.Master:
			violations = append(violations, fmt.Sprintf("%s read both %s and %s of epoch %s", name, before.Master, seen.Master, seen.Epoch))
		}
	}
	return violations
}
