package adminapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// dialFrom opens a connection from another address of the loopback.
func dialFrom(t *testing.T, d door, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func alive(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

// Clients that take all connections and say nothing, or not all of it, keep
// neither the controllers nor the balancers' checks out, nor end what is worked on.
func TestAFloodGivesWay(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	svc := full()
	svc.switchover = func(ctx context.Context, _ wire.SwitchoverRequest) (wire.Recovery, error) {
		close(entered)
		select {
		case <-leave:
			return wire.Recovery{ID: "main-3"}, nil
		case <-ctx.Done():
			return wire.Recovery{}, ctx.Err()
		}
	}
	// Nobody is cut for being slow in the time of this test.
	limits := adminapi.Limits{Connections: 40, ConnectionsPerIP: 30, Read: time.Minute, Idle: time.Minute}
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Limits: limits}, svc)

	working := dialFrom(t, d, "127.0.0.2")
	const body = `{"cluster":"main"}`
	request := "POST /api/v1/switchover HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n" + body
	if _, err := io.WriteString(working, request); err != nil {
		t.Fatal(err)
	}
	<-entered
	few := []net.Conn{dialFrom(t, d, "127.0.0.3"), dialFrom(t, d, "127.0.0.3")}
	for _, conn := range few {
		if !alive(t, conn) {
			t.Fatal("there is no room before the flood")
		}
	}
	// More than there is room for, of which some have begun to speak.
	for i := range 120 {
		conn := dialFrom(t, d, []string{"127.0.0.2", "127.0.0.4", "127.0.0.5"}[i%3])
		if i%2 == 0 {
			if _, err := io.WriteString(conn, "POST /internal/v1/witness HTTP/1.1\r\nHost: x\r\nContent-Le"); err != nil {
				t.Logf("connection %d was refused: %v", i, err)
			}
		}
	}
	for range 50 {
		if _, err := adminapi.NewPeers(secret).WhoAmI(t.Context(), d.url); err != nil {
			t.Fatalf("a controller is kept out: %v", err)
		}
		if a := send(t, "GET", d.url+"/api/leader-check", ""); a.status != 200 {
			t.Fatalf("a check is kept out: status %d", a.status)
		}
	}
	for i, conn := range few {
		if !alive(t, conn) {
			t.Errorf("connection %d of an address that has only two had to give way", i)
		}
	}
	close(leave)
	if a := read(t, working); a.status != 200 || !strings.Contains(a.body, "main-3") {
		t.Errorf("the call under way: status %d: %s", a.status, a.body)
	}
}

// Where all connections are being worked on, nobody is cut for a newcomer.
func TestWorkDoesNotGiveWay(t *testing.T) {
	entered, leave := make(chan struct{}, 3), make(chan struct{})
	svc := full()
	svc.switchover = func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error) {
		entered <- struct{}{}
		<-leave
		return wire.Recovery{ID: "main-3"}, nil
	}
	d := open(t, adminapi.Config{SelfID: "c1", Limits: adminapi.Limits{Connections: 3}}, svc)
	answers := make(chan answer, 3)
	for range 3 {
		go func() { answers <- send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`) }()
	}
	for range 3 {
		<-entered
	}
	if a := read(t, dial(t, d)); a.status != 429 {
		t.Errorf("a fourth connection: status %d", a.status)
	}
	close(leave)
	for range 3 {
		if a := <-answers; a.status != 200 {
			t.Errorf("a call under way: status %d: %s", a.status, a.body)
		}
	}
}

// A client that asks and never reads the answers is cut, and disturbs nobody.
func TestClientsThatDoNotReadAreCut(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Limits: adminapi.Limits{Write: 2 * time.Second}}, full())
	deaf := dial(t, d)
	if err := deaf.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	question := strings.Repeat("GET "+wire.PathOpenAPI+" HTTP/1.1\r\nHost: x\r\n\r\n", 100)
	for begun := time.Now(); ; {
		// Once its answers fill what is between, the door reads nothing more, and
		// then it hangs up.
		if _, err := io.WriteString(deaf, question); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the door did not hang up")
			}
			break
		}
		if time.Since(begun) > patience {
			t.Fatal("the door takes requests for ever")
		}
	}
	if a := send(t, "GET", d.url+"/api/leader-check", ""); a.status != 200 {
		t.Errorf("afterwards: status %d", a.status)
	}
}
