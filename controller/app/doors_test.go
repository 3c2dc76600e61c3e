package app

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
)

// status asks a door as a load balancer would; 0 is no answer.
func status(t *testing.T, c *config.File, path string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := call.Do(ctx, call.Request{Method: "HEAD", URL: c.Self().HTTP + path})
	if err != nil {
		return 0
	}
	return reply.Status
}

// leading is the one that says that it leads, where one alone does and each of
// them can be used to reach it; nil otherwise.
func leading(t *testing.T, files []*config.File) *config.File {
	t.Helper()
	var leader *config.File
	for _, c := range files {
		switch status(t, c, wire.PathLeads) {
		case 200:
			if leader != nil {
				return nil
			}
			leader = c
		case 503:
		default:
			return nil
		}
		if status(t, c, wire.PathRoutedCheck) != 200 || status(t, c, wire.PathReady) != 200 || status(t, c, wire.PathHealth) != 200 {
			return nil
		}
	}
	return leader
}

// Three whole controllers tell balancers who leads, also under a flood of silent
// clients at the leader's door, and after that one was stopped.
func TestBalancersFindTheLeader(t *testing.T) {
	t.Parallel()
	files := three(t)
	stops := map[string]func(){}
	for _, c := range files {
		wait, stop := run(t, c)
		stops[c.ID] = stop
		defer func() {
			stop()
			if err := wait(); err != nil {
				t.Errorf("%s ended with %v", c.ID, err)
			}
		}()
	}
	var leader *config.File
	eventually(t, "one leads", func() bool {
		leader = leading(t, files)
		return leader != nil
	})
	for i := range 1200 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%6))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(leader.Self().HTTP, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			// It may be refused, or have given way, already.
			_, _ = io.WriteString(conn, "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{")
		}
	}
	eventually(t, "the leader is found under the flood", func() bool { return leading(t, files) != nil })

	reply, err := call.Do(t.Context(), call.Request{Method: "GET", URL: files[0].Self().HTTP + wire.PathOpenAPI})
	var document struct {
		Paths map[string]any `json:"paths"`
	}
	if err != nil || json.Unmarshal(reply.Body, &document) != nil || document.Paths[wire.PathNotice] == nil {
		t.Errorf("the OpenAPI document: %v, %d paths", err, len(document.Paths))
	}

	eventually(t, "one leads before the stop", func() bool {
		leader = leading(t, files)
		return leader != nil
	})
	stops[leader.ID]()
	var left []*config.File
	for _, c := range files {
		if c != leader {
			left = append(left, c)
		}
	}
	eventually(t, "another one leads", func() bool { return leading(t, left) != nil })
	if s := status(t, leader, wire.PathLeaderCheck+"/503"); s == 200 {
		t.Errorf("the one that was stopped answers %d", s)
	}
}
