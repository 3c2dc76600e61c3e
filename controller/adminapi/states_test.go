package adminapi_test

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"switchyard/controller/adminapi"
)

func TestStatesAsksAllControllers(t *testing.T) {
	leader := open(t, adminapi.Config{SelfID: "c1"}, &service{leader: true, leaderID: "c1"})
	follower := open(t, adminapi.Config{SelfID: "c2"}, &service{leaderID: "c1"})
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	silent, gone := listen(), listen()
	defer silent.Close()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		if _, err := io.WriteString(w, `{"id":"failing"}`); err != nil {
			t.Error(err)
		}
	}))
	defer failing.Close()

	peers := map[string]string{
		"c1": leader.url, "c2": follower.url + "/", "silent": "http://" + silent.Addr().String(),
		"gone": "http://" + gone.Addr().String(), "other": other.URL, "failing": failing.URL, "namesake": leader.url, "odd": "::",
	}
	want := map[string]string{
		"c1": "leader", "c2": "follower", "silent": "unreachable", "gone": "unreachable", "other": "unreachable",
		"failing": "unreachable", "namesake": "unreachable", "odd": "unreachable",
	}
	// Each has little time to answer: on a busy machine, not all do at first.
	for begun := time.Now(); ; {
		got := adminapi.NewPeers("").States(t.Context(), peers)
		if maps.Equal(got, want) {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	}
	if none := adminapi.NewPeers("").States(t.Context(), nil); len(none) != 0 {
		t.Errorf("%v", none)
	}
}
