package adminapi_test

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// from sends a request from an address of the loopback.
func from(t *testing.T, d door, address string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", d.url+"/api/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return roundTrip(t, &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}, request)
}

// Whoever tries passwords is held up, is told for how long, and nobody else is.
func TestFailedLoginsAreLimited(t *testing.T) {
	basic := tokens()
	basic.Mode = adminapi.AuthBasic
	password := func(text string) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(text))}
	}
	for _, c := range []struct {
		auth         adminapi.Auth
		right, wrong []string
	}{
		{tokens(), bearer(viewToken), bearer("a guess")},
		{basic, password("vi:" + viewToken), password("vi:a guess")},
	} {
		// Nothing is allowed again in the time of this test.
		d := open(t, adminapi.Config{SelfID: "c1", Auth: c.auth, Limits: adminapi.Limits{Logins: 5, LoginEvery: time.Hour}}, full())
		for range 20 {
			if a := from(t, d, "127.0.0.2", c.right...); a.status != 200 {
				t.Fatalf("%s: what is right is counted: %d %s", c.auth.Mode, a.status, a.body)
			}
			wantError(t, from(t, d, "127.0.0.2"), 401, wire.Unauthorized, "wants a")
		}
		for range 5 {
			wantError(t, from(t, d, "127.0.0.2", c.wrong...), 401, wire.Unauthorized)
		}
		for _, header := range [][]string{c.wrong, c.right} {
			a := from(t, d, "127.0.0.2", header...)
			wantError(t, a, 429, wire.TooManyLogins, "too many logins from 127.0.0.2 have failed", "try again in 3600 s")
			if a.header.Get("Retry-After") != "3600" || a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: %v", c.auth.Mode, a.header)
			}
		}
		if a := from(t, d, "127.0.0.3", c.right...); a.status != 200 {
			t.Errorf("%s: another address: %d %s", c.auth.Mode, a.status, a.body)
		}
		// What a client writes of itself changes nothing.
		wantError(t, from(t, d, "127.0.0.2", append([]string{"X-Forwarded-For", "10.1.1.1"}, c.wrong...)...), 429, wire.TooManyLogins)
	}
}

// Who was held up is let in as soon as it was told, and no failure in between
// makes that later.
func TestACorrectLoginIsNotShutOutForLong(t *testing.T) {
	limits := adminapi.Limits{Logins: 1, LoginEvery: time.Second}
	d := open(t, adminapi.Config{SelfID: "c1", Auth: tokens(), Limits: limits}, full())
	begun := time.Now()
	for n := 0; ; n++ {
		if a := from(t, d, "127.0.0.2", bearer("a guess")...); a.status == 429 {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("%d failed logins are not limited", n)
		}
	}
	for {
		a := from(t, d, "127.0.0.2", bearer(viewToken)...)
		if a.status == 200 {
			return
		}
		wantError(t, a, 429, wire.TooManyLogins)
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds != 1 {
			t.Fatalf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("it is shut out")
		}
	}
}

// Behind a proxy that is named, each client counts for itself.
func TestLoginsThroughAProxyCountByClient(t *testing.T) {
	auth := tokens()
	auth.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.7/32"), netip.MustParsePrefix("10.0.0.0/24")}
	d := open(t, adminapi.Config{SelfID: "c1", Auth: auth, Limits: adminapi.Limits{Logins: 1, LoginEvery: time.Hour}}, full())
	guess := func(peer string, forwarded ...string) answer {
		header := bearer("a guess")
		for _, line := range forwarded {
			header = append(header, "X-Forwarded-For", line)
		}
		return from(t, d, peer, header...)
	}
	for _, c := range []struct {
		peer      string
		forwarded []string
		counts    string
	}{
		{"127.0.0.7", []string{"192.0.2.1"}, "192.0.2.1"},
		{"127.0.0.7", []string{"192.0.2.2, 10.0.0.9"}, "192.0.2.2"},
		{"127.0.0.7", []string{"198.51.100.1, 192.0.2.3"}, "192.0.2.3"}, // the first is the client's own word
		{"127.0.0.7", []string{"198.51.100.1", "192.0.2.4"}, "192.0.2.4"},
		{"127.0.0.7", []string{"2001:db8::1"}, "2001:db8::1"},
		{"127.0.0.7", []string{"rubbish"}, "127.0.0.7"},
		{"127.0.0.8", []string{"192.0.2.9"}, "127.0.0.8"}, // is no proxy
	} {
		wantError(t, guess(c.peer, c.forwarded...), 401, wire.Unauthorized)
		wantError(t, guess(c.peer, c.forwarded...), 429, wire.TooManyLogins, "from "+c.counts+" have failed")
	}
}

// What is remembered is bounded, however many addresses try.
func TestLoginsAreRememberedWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = time.Second
		l := adminapi.NewLogins(3, every)
		for n := range 20_000 {
			address := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
			for range 3 {
				l.Try(address)
			}
			if n%100 == 0 {
				time.Sleep(every / 200)
			}
		}
		if n := l.Remembered(); n > 4096 {
			t.Errorf("%d addresses are remembered", n)
		}
		time.Sleep(time.Minute)
		l.Try(netip.MustParseAddr("192.0.2.77"))
		if n := l.Remembered(); n != 1 {
			t.Errorf("%d addresses are remembered that could have tried all anew", n-1)
		}
	})
}

// One try is allowed every so often, and no more add up than the first ones.
func TestLoginsAreAllowedOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := adminapi.NewLogins(3, time.Second)
		a, neighbour, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1"), netip.MustParseAddr("2001:db8:0:1::1")
		tries := func() (allowed int) {
			for range 10 {
				if l.Try(a) {
					allowed++
				}
			}
			return allowed
		}
		for _, step := range []struct {
			pass time.Duration
			want int
		}{{0, 3}, {999 * time.Millisecond, 0}, {time.Millisecond, 1}, {2500 * time.Millisecond, 2}, {500 * time.Millisecond, 1}, {time.Hour, 3}} {
			time.Sleep(step.pass)
			if got := tries(); got != step.want {
				t.Errorf("after %s: %d, want %d", step.pass, got, step.want)
			}
		}
		if l.Try(neighbour) || !l.Try(other) {
			t.Errorf("%s is of the same network, and %s is not", neighbour, other)
		}
	})
}
