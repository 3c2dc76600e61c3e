package store

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

// issue returns what trusts this authority and has its certificate for a name;
// none if the name is empty.
func (a authority) issue(t testing.TB, name, serverName string) func() (*tls.Config, error) {
	t.Helper()
	conf := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	conf.RootCAs.AddCert(a.cert)
	if name != "" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{name}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	return func() (*tls.Config, error) { return conf, nil }
}

const loopback = "127.0.0.1"

// ends are two controllers' streams; what c1 hands to its raft comes by heard.
type ends struct {
	one, two *stream
	oneLog   *logBook
	heard    chan string
}

func newEnds(t *testing.T, change func(one, two *Config)) ends {
	t.Helper()
	before := stacks()
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i] = cfgs[i].withDefaults()
		cfgs[i].Timeouts.Network = patience
	}
	change(&cfgs[0], &cfgs[1])
	e := ends{oneLog: &logBook{}, heard: make(chan string, 100)}
	for _, end := range []struct {
		at  **stream
		cfg Config
		log io.Writer
	}{{&e.one, cfgs[0], e.oneLog}, {&e.two, cfgs[1], io.Discard}} {
		s, err := listen(context.Background(), end.cfg, slog.New(slog.NewTextHandler(end.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		*end.at = s
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := e.one.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				text, _ := io.ReadAll(conn)
				e.heard <- string(text)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		for _, s := range []*stream{e.one, e.two} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		running.Wait()
		eventually(t, "all goroutines end", func() bool {
			for number, stack := range stacks() {
				if _, known := before[number]; !known && !strings.Contains(stack, t.Name()) && strings.Contains(stack, "store.(*") {
					return false
				}
			}
			return true
		})
	})
	return e
}

func (e ends) dial(timeout time.Duration) (net.Conn, error) {
	return e.two.Dial(raft.ServerAddress(e.one.cfg.Bind), timeout)
}

// TestWhoIsLetIn dials once, and looks at what raft gets at the other end.
func TestWhoIsLetIn(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	right := ours.issue(t, loopback, "")
	for name, tc := range map[string]struct {
		one, two func() (*tls.Config, error)
		secret   string
		// wantDialer and wantLog are what c2 is told, and c1 logs; empty if all is well.
		wantDialer, wantLog string
	}{
		"the secret":                  {},
		"another secret":              {secret: "guessed", wantDialer: "does not know the secret", wantLog: "does not know the secret"},
		"TLS":                         {one: right, two: right},
		"TLS by one name for all":     {one: ours.issue(t, "raft.prod", "raft.prod"), two: ours.issue(t, "raft.prod", "raft.prod")},
		"TLS with another secret":     {one: right, two: right, secret: "guessed", wantDialer: "does not know the secret", wantLog: "does not know the secret"},
		"dialer of another CA":        {one: right, two: withRoots(t, ours, others.issue(t, loopback, "")), wantDialer: "does not accept the certificate", wantLog: "unknown authority"},
		"acceptor of another CA":      {one: withRoots(t, ours, others.issue(t, loopback, "")), two: right, wantDialer: "unknown authority", wantLog: "bad certificate"},
		"dialer with another name":    {one: right, two: ours.issue(t, "10.9.9.9", ""), wantDialer: "is not one for the name 127.0.0.1", wantLog: "10.9.9.9"},
		"acceptor with another name":  {one: ours.issue(t, "10.9.9.9", ""), two: right, wantDialer: "for the name 127.0.0.1", wantLog: "bad certificate"},
		"dialer without certificate":  {one: right, two: ours.issue(t, "", ""), wantDialer: "does not accept the certificate", wantLog: "didn't provide a certificate"},
		"TLS at the acceptor alone":   {one: right, wantDialer: "comes without TLS", wantLog: "comes without TLS"},
		"TLS at the dialer alone":     {two: right, wantDialer: "set raft.tls on all controllers", wantLog: "has no raft.tls"},
		"files that cannot be read":   {one: unreadable, two: right, wantDialer: "does not answer with TLS", wantLog: "raft.tls: gone"},
		"files the dialer lacks":      {one: right, two: unreadable, wantDialer: "raft.tls: gone"},
		"TLS, secret of another size": {one: right, two: right, secret: strings.Repeat("x", 5000), wantDialer: "the secret", wantLog: "the secret"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, func(one, two *Config) {
				one.TLS, two.TLS = tc.one, tc.two
				if tc.secret != "" {
					two.Secret = tc.secret
				}
			})
			conn, err := e.dial(patience)
			if tc.wantDialer != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantDialer) {
					t.Errorf("the dialer got %v", err)
				}
				eventually(t, "c1 logs why", func() bool { return strings.Contains(e.oneLog.String(), tc.wantLog) })
				if tc.wantLog == "" {
					return
				}
				if text := <-e.heard; text != "" {
					t.Errorf("raft was handed %q", text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "raft speaks"); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if text := <-e.heard; text != "raft speaks" {
				t.Errorf("raft was handed %q", text)
			}
			if text := e.oneLog.String(); text != "" {
				t.Errorf("c1 logged %s", text)
			}
		})
	}
}

func unreadable() (*tls.Config, error) { return nil, errors.New("gone") }

// withRoots trusts one authority, with the certificate of another.
func withRoots(t *testing.T, trusted authority, of func() (*tls.Config, error)) func() (*tls.Config, error) {
	t.Helper()
	conf, err := of()
	if err != nil {
		t.Fatal(err)
	}
	conf = conf.Clone()
	conf.RootCAs = x509.NewCertPool()
	conf.RootCAs.AddCert(trusted.cert)
	return func() (*tls.Config, error) { return conf, nil }
}

// knock opens a connection that does not come from a controller.
func knock(t *testing.T, at string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// hungUp waits until the other end closes.
func hungUp(t *testing.T, from io.Reader) {
	t.Helper()
	_, err := io.Copy(io.Discard, from)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("the connection was kept")
	}
}

// TestRecordedProofIsWorthNothing says once more what a controller has said.
func TestRecordedProofIsWorthNothing(t *testing.T) {
	e := newEnds(t, func(*Config, *Config) {})
	between, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = between.Close() }()
	recorded := make(chan []string, 1)
	go func() {
		var lines []string
		defer func() { recorded <- lines }()
		near, err := between.Accept()
		if err != nil {
			return
		}
		defer func() { _ = near.Close() }()
		far, err := net.Dial("tcp", e.one.cfg.Bind)
		if err != nil {
			return
		}
		defer func() { _ = far.Close() }()
		asked, answered := bufio.NewReader(near), bufio.NewReader(far)
		for range 2 {
			line, _ := asked.ReadString('\n')
			lines = append(lines, line)
			_, _ = io.WriteString(far, line)
			line, _ = answered.ReadString('\n')
			lines = append(lines, line)
			_, _ = io.WriteString(near, line)
		}
	}()
	// c2 believes that c1 is there; so the recorded lines are those of a welcome.
	e.two.cfg.Peers[0].RaftAddress = between.Addr().String()
	conn, err := e.two.Dial(raft.ServerAddress(between.Addr().String()), patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	lines := <-recorded
	<-e.heard

	again, answers := knock(t, e.one.cfg.Bind)
	for i, line := range []string{lines[0], lines[2]} {
		if _, err := io.WriteString(again, line); err != nil {
			t.Fatal(err)
		}
		reply, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && !strings.Contains(reply, "does not know the secret") {
			t.Errorf("the recording got %s", reply)
		}
	}
	hungUp(t, answers)
	if text := <-e.heard; text != "" {
		t.Errorf("raft was handed %q", text)
	}
}

// TestImpostorIsGivenNothing lets a stranger answer at c1's address.
func TestImpostorIsGivenNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		first string
		// last makes the last line of the dialer's second.
		last func(proof string) string
		want string
	}{
		"it gives the dialer's proof back": {
			fmt.Sprintf(`{"switchyard_raft":2,"nonce":%q}`, strings.Repeat("A", 43)+"="),
			func(proof string) string { return `{"refusal":"","id":"c1",` + proof[1:] }, "does not prove",
		},
		"it proves nothing": {
			fmt.Sprintf(`{"switchyard_raft":2,"nonce":%q}`, strings.Repeat("A", 43)+"="),
			func(string) string { return `{"refusal":"","id":"c1"}` }, "does not prove",
		},
		"it has no nonce":      {`{"switchyard_raft":2}`, nil, "speaks version 2"},
		"it is older":          {`{"refusal":"it speaks version 2 of the greeting, this controller version 1","id":"c1"}`, nil, "this controller version 1"},
		"it welcomes at once":  {`{"refusal":"","id":"c1"}`, nil, "run the same release"},
		"it is something else": {"HTTP/1.1 400 Bad Request", nil, "no greeting of a controller"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, func(*Config, *Config) {})
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			e.two.cfg.Peers[0].RaftAddress = listener.Addr().String()
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				from := bufio.NewReader(conn)
				_, _ = from.ReadString('\n')
				_, _ = io.WriteString(conn, tc.first+"\n")
				if tc.last != nil {
					proof, _ := from.ReadString('\n')
					_, _ = io.WriteString(conn, tc.last(strings.TrimSpace(proof))+"\n")
				}
				_, _ = io.Copy(io.Discard, from)
			}()
			conn, err := e.two.Dial(raft.ServerAddress(listener.Addr().String()), patience)
			if err == nil {
				_ = conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
			_ = listener.Close()
			<-served
		})
	}
}

// TestOlderControllerIsToldSo says the greeting of the release before.
func TestOlderControllerIsToldSo(t *testing.T) {
	ours := newAuthority(t)
	for name, certified := range map[string]func() (*tls.Config, error){"plain": nil, "TLS": ours.issue(t, loopback, "")} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, func(one, _ *Config) { one.TLS = certified })
			conn, answers := knock(t, e.one.cfg.Bind)
			if _, err := io.WriteString(conn, `{"switchyard_raft":1,"ledger":"prod","from":"c2","to":"c1"}`+"\n"); err != nil {
				t.Fatal(err)
			}
			var reply struct {
				Refusal string `json:"refusal"`
			}
			line, err := answers.ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(line, &reply)
			}
			if err != nil || !strings.Contains(reply.Refusal, "run the same release") {
				t.Errorf("it is told %q, %v", reply.Refusal, err)
			}
			hungUp(t, answers)
			if text := <-e.heard; text != "" {
				t.Errorf("raft was handed %q", text)
			}
		})
	}
}

// TestStrangersWhoTakeTheirTime drip bytes, or stop in the middle.
func TestStrangersWhoTakeTheirTime(t *testing.T) {
	ours := newAuthority(t)
	certified := ours.issue(t, loopback, "")
	for name, tc := range map[string]struct {
		tls   func() (*tls.Config, error)
		first string
		drip  bool
	}{
		"silent": {}, "silent, TLS": {tls: certified}, "drips": {first: "{", drip: true},
		"stops in TLS": {tls: certified, first: "\x16\x03\x01"},
		"stops after the hello": {first: fmt.Sprintf(`{"switchyard_raft":2,"nonce":%q}`,
			strings.Repeat("A", 43)+"=") + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, func(one, _ *Config) { one.TLS, one.Timeouts.Network = tc.tls, 200*time.Millisecond })
			conn, answers := knock(t, e.one.cfg.Bind)
			if _, err := io.WriteString(conn, tc.first); err != nil {
				t.Fatal(err)
			}
			if tc.drip {
				eventually(t, "who drips is cut off", func() bool {
					_, err := io.WriteString(conn, " ")
					return err != nil
				})
			} else {
				hungUp(t, answers)
			}
			if text := <-e.heard; text != "" {
				t.Errorf("raft was handed %q", text)
			}
			eventually(t, "it is logged", func() bool { return strings.Contains(e.oneLog.String(), "refused at the raft port") })
		})
	}
}

// TestManyStrangers holds more connections than one host may begin.
func TestManyStrangers(t *testing.T) {
	e := newEnds(t, func(*Config, *Config) {})
	var conns []net.Conn
	for range greetingsOfHost {
		conn, _ := knock(t, e.one.cfg.Bind)
		conns = append(conns, conn)
	}
	_, answers := knock(t, e.one.cfg.Bind)
	hungUp(t, answers)
	for range 20 {
		_, answers := knock(t, e.one.cfg.Bind)
		hungUp(t, answers)
	}
	if n := strings.Count(e.oneLog.String(), "too many connections"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "there is room again", func() bool {
		e.one.mu.Lock()
		defer e.one.mu.Unlock()
		return e.one.greeting == 0
	})
	for version := range 3 * complaintsOfHost {
		conn, answers := knock(t, e.one.cfg.Bind)
		if _, err := fmt.Fprintf(conn, "{\"switchyard_raft\":%d}\n", 100+version); err != nil {
			t.Fatal(err)
		}
		hungUp(t, answers)
	}
	eventually(t, "a stranger with ever new words is logged", func() bool {
		return strings.Count(e.oneLog.String(), "refused at the raft port") == complaintsOfHost
	})
	eventually(t, "a controller comes in again", func() bool {
		conn, err := e.dial(patience)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// TestHalfOpen dials who accepts and never answers, also while this end closes.
func TestHalfOpen(t *testing.T) {
	ours := newAuthority(t)
	for name, certified := range map[string]func() (*tls.Config, error){"plain": nil, "TLS": ours.issue(t, loopback, "")} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, func(_, two *Config) { two.TLS = certified })
			mute, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = mute.Close() }()
			at := raft.ServerAddress(mute.Addr().String())
			conn, err := e.two.Dial(at, 100*time.Millisecond)
			var ne net.Error
			if err == nil || conn != nil || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("got %v", err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := e.two.Dial(at, time.Hour)
				ended <- err
			}()
			for range 2 {
				// The second is the one that goes on.
				if _, err := mute.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.two.Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if err == nil {
					t.Error("it came through")
				}
			case <-time.After(patience):
				t.Error("closing does not end a greeting")
			}
		})
	}
}

// TestCertificatesAreReadAnew renews c1's while it runs, and breaks it then.
func TestCertificatesAreReadAnew(t *testing.T) {
	ours := newAuthority(t)
	right, wrong := ours.issue(t, loopback, ""), ours.issue(t, "10.9.9.9", "")
	var mu sync.Mutex
	now := wrong
	e := newEnds(t, func(one, two *Config) {
		one.TLS = func() (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			return now()
		}
		two.TLS = right
	})
	if _, err := e.dial(patience); err == nil {
		t.Fatal("a wrong certificate was accepted")
	}
	for _, next := range []func() (*tls.Config, error){right, unreadable} {
		mu.Lock()
		now = next
		mu.Unlock()
		conn, err := e.dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	eventually(t, "it is said", func() bool { return strings.Contains(e.oneLog.String(), "what was read before is used") })
}

// TestThreeControllersByTLS elects, replicates, and loses its leader.
func TestThreeControllersByTLS(t *testing.T) {
	ours := newAuthority(t)
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].TLS = ours.issue(t, loopback, "")
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	propose(t, lead, adopt(1))
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) })
	}
	rest := others(all, lead)
	closeNow(t, lead)
	next := leader(t, rest...)
	propose(t, next, adopt(2))
	back := open(t, lead.cfg)
	eventually(t, "the one that returned catches up", func() bool { return knows(back, 2) })
}
