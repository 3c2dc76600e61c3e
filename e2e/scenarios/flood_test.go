//go:build servers

package scenarios_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/store/ledger"
)

// TestFloodedDoors: slow clients, floods of connections and huge requests at the leader's door take neither the watch over
// the servers nor a recovery from it, and keep no decent client out.
func TestFloodedDoors(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	leader, err := s.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rest := looksPerSecond(t, ctx, leader)
	if rest == 0 {
		t.Fatal("the leader looks at no server")
	}
	f := beginFlood(t, hostPort(t, leader.URL))
	until(t, ctx, 60*time.Second, "the flood is at its height", func(context.Context) error {
		if f.slow.Load() < slowSources*slowEach || f.asked.Load() < 200 || f.huge.Load() < 20 {
			return fmt.Errorf("%s so far", f)
		}
		return nil
	})
	// Whoever is starved never comes near it; another's work on this machine passes.
	until(t, ctx, 60*time.Second, "the leader looks at least half as often as before the flood", func(ctx context.Context) error {
		if now := looksPerSecond(t, ctx, leader); now < rest/2 {
			return fmt.Errorf("%.1f looks a second, %.1f before the flood (%s)", now, rest, f)
		}
		return nil
	})
	old := s.DB.Master
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, 60*time.Second, "the crashed master is replaced in the flood", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err == nil && (len(list) == 0 || list[0].Outcome != ledger.Completed || list[0].Old.String() != old.Key()) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
	f.end()
	if f.failed.Load() != 0 {
		t.Errorf("of the requests, %d were answered by something else than an answer of the door's", f.failed.Load())
	}
	t.Logf("%.1f looks a second before; %s", rest, f)
}

// looksPerSecond is how often a controller probes servers, by its own count, over some seconds.
func looksPerSecond(t *testing.T, ctx context.Context, c *site.Controller) float64 {
	t.Helper()
	count := func() (n float64, at time.Time) {
		until(t, ctx, 30*time.Second, "a decent client is answered", func(ctx context.Context) (err error) {
			n, err = looks(ctx, c)
			return err
		})
		return n, time.Now()
	}
	before, from := count()
	wait := time.NewTimer(4 * time.Second)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	after, to := count()
	return (after - before) / to.Sub(from).Seconds()
}

// looks counts the probes that a controller has made.
func looks(ctx context.Context, c *site.Controller) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+wire.PathMetrics, nil)
	if err != nil {
		return 0, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	sum := 0.0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(name, "switchyard_probe_seconds_count") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	if response.StatusCode != http.StatusOK || sum == 0 {
		return 0, fmt.Errorf("status %s, %.0f probes", response.Status, sum)
	}
	return sum, nil
}

// Together the slow clients take more connections than a door has.
const slowSources, slowEach = 5, 240

// flood is many rude clients of one address.
type flood struct {
	address string
	cancel  context.CancelFunc
	group   sync.WaitGroup
	// slow are the connections that were opened by slow clients; asked and huge the requests that were answered, and
	// turned the connections that were refused or gave way; failed is what no client expects.
	slow, asked, huge, turned, failed atomic.Int64
}

// String says how far it is.
func (f *flood) String() string {
	return fmt.Sprintf("%d slow connections, %d requests answered, %d huge ones refused, %d connections turned away",
		f.slow.Load(), f.asked.Load(), f.huge.Load(), f.turned.Load())
}

func beginFlood(t *testing.T, address string) *flood {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &flood{address: address, cancel: cancel}
	t.Cleanup(f.end)
	for n := range slowSources {
		source := fmt.Sprintf("127.77.1.%d", n+1)
		f.group.Go(func() { f.drip(ctx, source) })
	}
	for n := range 3 {
		source := fmt.Sprintf("127.77.2.%d", n+1)
		f.group.Go(func() {
			f.again(ctx, func() {
				f.request(ctx, source, "GET /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &f.asked)
			})
		})
	}
	head := "POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\n"
	for n, text := range []string{
		head + "Content-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20),
		head + "X-Long: " + strings.Repeat("y", 64<<10) + "\r\n\r\n",
	} {
		source := fmt.Sprintf("127.77.3.%d", n+1)
		f.group.Go(func() { f.again(ctx, func() { f.request(ctx, source, text, &f.huge) }) })
	}
	return f
}

func (f *flood) end() {
	f.cancel()
	f.group.Wait()
}

// again does something over and over, with a breath in between: the flood is to take the door's connections, not all of
// this machine.
func (f *flood) again(ctx context.Context, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (f *flood) dial(ctx context.Context, source string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", f.address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(30 * time.Second))
}

// drip holds connections open and says a byte of a request now and then, and opens others for those that are ended.
func (f *flood) drip(ctx context.Context, source string) {
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	f.again(ctx, func() {
		for len(open) < slowEach && ctx.Err() == nil {
			conn, err := f.dial(ctx, source)
			if err != nil {
				f.turned.Add(1)
				return
			}
			f.slow.Add(1)
			open = append(open, conn)
			if _, err := io.WriteString(conn, "POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
				break
			}
		}
		var left []net.Conn
		for _, conn := range open {
			if _, err := io.WriteString(conn, "z"); err != nil {
				f.turned.Add(1)
				_ = conn.Close()
				continue
			}
			left = append(left, conn)
		}
		open = left
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	})
}

// request makes one request on a connection of its own; being turned away is what the door may do.
func (f *flood) request(ctx context.Context, source, text string, counts *atomic.Int64) {
	conn, err := f.dial(ctx, source)
	if err != nil {
		f.turned.Add(1)
		return
	}
	defer func() { _ = conn.Close() }()
	// The answer to a request that is too large comes before all of it is sent.
	_, sent := io.WriteString(conn, text)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		f.turned.Add(1)
		return
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	switch {
	case response.StatusCode == http.StatusTooManyRequests, response.StatusCode == http.StatusRequestTimeout, errors.Join(sent, err) != nil:
		f.turned.Add(1)
	case response.StatusCode == http.StatusOK, response.StatusCode == http.StatusServiceUnavailable,
		response.StatusCode == http.StatusRequestEntityTooLarge:
		counts.Add(1)
	default:
		f.failed.Add(1)
	}
}
