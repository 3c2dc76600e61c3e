package adminapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// dial opens a raw connection, for what a decent HTTP client does not do.
func dial(t *testing.T, d door) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func raw(t *testing.T, d door, text string) answer {
	t.Helper()
	conn := dial(t, d)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return read(t, conn)
}

func read(t *testing.T, conn net.Conn) answer {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func TestHugeRequests(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1"}, full())
	most := `{"cluster":"main","by":"x"}`
	fits := most + strings.Repeat(" ", 64<<10-len(most))
	if a := send(t, "POST", d.url+"/api/v1/switchover", fits); a.status != 200 {
		t.Errorf("a body of 64 KiB: status %d: %s", a.status, a.body)
	}
	for _, size := range []int{64<<10 + 1, 1 << 20} {
		a := send(t, "POST", d.url+"/api/v1/switchover", strings.Repeat("x", size))
		wantError(t, a, 413, wire.TooLarge, "more than 65536 bytes")
	}
	chunked := fmt.Sprintf("POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		100<<10, strings.Repeat("x", 100<<10))
	wantError(t, raw(t, d, chunked), 413, wire.TooLarge, "body")
	wantError(t, raw(t, d, "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("y", 20<<10)+"\r\n\r\n"),
		413, wire.TooLarge, "header")
}

func TestRubbishRequests(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1"}, full())
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"GET\r\n\r\n",
		"POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
		"GET /api/v1/topology/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/topology/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if a := raw(t, d, text); a.status != 400 {
			t.Errorf("%.40q: status %d: %s", text, a.status, a.body)
		}
	}
	if a := send(t, "GET", d.url+"/health/live", ""); a.status != 200 {
		t.Errorf("after the rubbish: status %d", a.status)
	}
}

func TestSlowClientsAreCutAndDoNotDisturb(t *testing.T) {
	limits := adminapi.Limits{Read: 3 * time.Second}
	d := open(t, adminapi.Config{SelfID: "c1", Limits: limits}, full())
	begun := time.Now()
	slow := make([]net.Conn, 50)
	for i := range slow {
		slow[i] = dial(t, d)
		if _, err := io.WriteString(slow[i], "POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	if a := send(t, "GET", d.url+"/api/leader-check", ""); a.status != 200 {
		t.Errorf("beside slow clients: status %d", a.status)
	}
	for _, conn := range slow {
		wantError(t, read(t, conn), 408, wire.RequestTimeout, "not complete after 3s")
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("the connection goes on with %d bytes", n)
		}
	}
	if took := time.Since(begun); took < limits.Read || took > patience {
		t.Errorf("the slow clients were cut after %s", took)
	}
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Limits: adminapi.Limits{ConnectionsPerIP: 3}}, full())
	var held []net.Conn
	for range 3 {
		conn := dial(t, d)
		if _, err := io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if a := read(t, conn); a.status != 200 {
			t.Fatalf("status %d", a.status)
		}
		held = append(held, conn)
	}
	if a := read(t, dial(t, d)); a.status != 429 {
		t.Errorf("the fourth connection: status %d", a.status)
	}
	for _, conn := range held {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); ; {
		a := raw(t, d, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if a.status == 200 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after the others are closed: status %d", a.status)
		}
	}
}

// Operators' calls that wait must not keep the controllers from each other.
func TestCallsUnderWayAreLimitedAndInternalOnesAreNot(t *testing.T) {
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	svc := full()
	svc.switchover = func(ctx context.Context, _ wire.SwitchoverRequest) (wire.Recovery, error) {
		entered <- struct{}{}
		select {
		case <-leave:
			return wire.Recovery{ID: "main-3"}, nil
		case <-ctx.Done():
			return wire.Recovery{}, ctx.Err()
		}
	}
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Limits: adminapi.Limits{Calls: 2}}, svc)
	answers := make(chan answer, 2)
	for range 2 {
		go func() { answers <- send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`) }()
	}
	<-entered
	<-entered
	wantError(t, send(t, "GET", d.url+"/api/v1/status", ""), 503, wire.Busy, "2 calls")
	for _, path := range []string{"/api/leader-check", "/health/live"} {
		if a := send(t, "GET", d.url+path, ""); a.status != 200 {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if _, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), d.url); err != nil {
		t.Error(err)
	}
	close(leave)
	for range 2 {
		if a := <-answers; a.status != 200 {
			t.Errorf("a call under way: status %d: %s", a.status, a.body)
		}
	}
	if a := send(t, "GET", d.url+"/api/v1/status", ""); a.status != 200 {
		t.Errorf("afterwards: status %d", a.status)
	}
}

func TestWorkHasADeadline(t *testing.T) {
	svc := full()
	svc.status = func(ctx context.Context) (wire.Status, error) {
		<-ctx.Done()
		return wire.Status{}, fmt.Errorf("read the ledger: %w", ctx.Err())
	}
	d := open(t, adminapi.Config{SelfID: "c1", Limits: adminapi.Limits{Answer: 20 * time.Millisecond}}, svc)
	wantError(t, send(t, "GET", d.url+"/api/v1/status", ""), 503, wire.Timeout, "deadline")
}

func TestStopCancelsWorkAfterTheGrace(t *testing.T) {
	entered := make(chan struct{})
	svc := full()
	svc.switchover = func(ctx context.Context, _ wire.SwitchoverRequest) (wire.Recovery, error) {
		close(entered)
		<-ctx.Done()
		return wire.Recovery{}, ctx.Err()
	}
	answers := make(chan answer, 1)
	t.Run("server", func(inner *testing.T) {
		d := open(inner, adminapi.Config{SelfID: "c1", Limits: adminapi.Limits{Stop: 100 * time.Millisecond}}, svc)
		go func() { answers <- send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`) }()
		<-entered
	})
	wantError(t, <-answers, 503, wire.Unavailable, "stopping")
}
