package call_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

func TestRequestAndReplyArriveWhole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := r.Method + " " + r.URL.EscapedPath() + "?" + r.URL.RawQuery + " " + r.Header.Get("X-One") + " " + string(body)
		w.Header().Set(wire.HeaderSignature, "signed")
		w.WriteHeader(http.StatusConflict)
		if _, err := io.WriteString(w, got); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	reply, err := call.Do(t.Context(), call.Request{
		Method: "POST", URL: server.URL + "/a/..%2Fb?c=d", Body: []byte("text"), Header: map[string]string{"X-One": "1"},
	})
	if err != nil || reply.Status != 409 || string(reply.Body) != "POST /a/..%2Fb?c=d 1 text" || reply.Signature != "signed" {
		t.Errorf("%v: %+v %q", err, reply, reply.Body)
	}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestUnreachableIsToldFromUnanswered(t *testing.T) {
	gone := listener(t)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := call.Do(t.Context(), call.Request{Method: "GET", URL: "http://" + gone.Addr().String()})
	if !errors.Is(err, call.ErrUnreachable) {
		t.Errorf("refused: %v", err)
	}
	mute := listener(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = call.Do(ctx, call.Request{Method: "GET", URL: "http://" + mute.Addr().String()})
	if errors.Is(err, call.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
}

// Also a GET is sent once only: the caller decides whether to ask again.
func TestBrokenCallIsNotRepeated(t *testing.T) {
	l := listener(t)
	var calls atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			buffer := make([]byte, 1024)
			_, _ = conn.Read(buffer)
			_ = conn.Close()
		}
	}()
	for range 3 {
		before := calls.Load()
		_, err := call.Do(t.Context(), call.Request{Method: "GET", URL: "http://" + l.Addr().String() + "/"})
		if err == nil || errors.Is(err, call.ErrUnreachable) {
			t.Errorf("error %v", err)
		}
		if n := calls.Load() - before; n != 1 {
			t.Errorf("the call was sent %d times", n)
		}
	}
}

func TestCancellationEndsTheCallAtOnceAndIsRecognised(t *testing.T) {
	mute := listener(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		if conn, err := mute.Accept(); err == nil {
			cancel(errors.New("a signal was received"))
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	begun := time.Now()
	_, err := call.Do(ctx, call.Request{Method: "GET", URL: "http://" + mute.Addr().String()})
	if !errors.Is(err, context.Canceled) || time.Since(begun) > time.Minute {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}

func TestLongRepliesAreRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 2000))
	}))
	defer server.Close()
	if _, err := call.Do(t.Context(), call.Request{Method: "GET", URL: server.URL, MaxReply: 1000}); err == nil {
		t.Error("no error")
	}
	reply, err := call.Do(t.Context(), call.Request{Method: "GET", URL: server.URL, MaxReply: 2000})
	if err != nil || len(reply.Body) != 2000 {
		t.Errorf("%v: %d bytes", err, len(reply.Body))
	}
}

// A host that is cut off answers nothing at all: here the kernel drops what does
// not fit into a full queue of connections.
func TestConnectHasItsOwnBound(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for full := false; !full; {
		held, err := net.DialTimeout("tcp", listener.Addr().String(), 3*time.Second)
		if full = err != nil; !full {
			defer held.Close()
		}
	}
	begun := time.Now()
	_, err = call.Do(t.Context(), call.Request{Method: "GET", URL: "http://" + listener.Addr().String() + "/", Connect: 50 * time.Millisecond})
	if !errors.Is(err, call.ErrUnreachable) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > call.Longest/2 {
		t.Errorf("took %s", took)
	}
}
