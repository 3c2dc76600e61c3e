package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"switchyard/controller/config"
	"switchyard/e2e/certs"
)

// A door shows a certificate that was renewed from its next connection on, and
// the last good one while the files are rubbish; so does a caller.
func TestCertificatesAreRenewedWithoutARestart(t *testing.T) {
	ca := certs.New(t, "ours")
	pair := ca.Issue(t, "c1", []string{"127.0.0.1"})
	files := config.HTTPTLS{Cert: pair.Cert, Key: pair.Key, CA: ca.File, ClientCA: ca.File}
	now := time.Now()
	var log bytes.Buffer
	read := func() time.Time { return now }
	way, err := carry(files, read, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := handshake(t, way)
	now = now.Add(renewPause)
	if again := handshake(t, way); !again.same(first) {
		t.Error("nothing was renewed, and another certificate is shown")
	}
	renewed := ca.Issue(t, "c1", []string{"127.0.0.1"}) // into the same files
	if renewed != pair {
		t.Fatal("the test renews other files")
	}
	now = now.Add(renewPause / 2)
	if soon := handshake(t, way); !soon.same(first) {
		t.Error("the files are read for every connection")
	}
	now = now.Add(renewPause)
	second := handshake(t, way)
	if second.server.Equal(first.server) || second.client.Equal(first.client) {
		t.Error("the renewed certificate is not used")
	}
	if err := os.WriteFile(pair.Cert, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(renewPause)
		if kept := handshake(t, way); !kept.same(second) {
			t.Error("what was read before is not kept")
		}
	}
	if n := strings.Count(log.String(), "http.tls cannot be read"); n < 1 || n > 2 {
		t.Errorf("it is said %d times, want once for each side: %s", n, log.String())
	}
}

// shown is what both ends of a connection showed.
type shown struct{ server, client *x509.Certificate }

func (s shown) same(o shown) bool { return s.server.Equal(o.server) && s.client.Equal(o.client) }

func handshake(t *testing.T, way carriage) shown {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if err := near.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	server := tls.Server(far, way.server)
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(t.Context()) }()
	c := way.client.Clone()
	c.ServerName = "127.0.0.1"
	client := tls.Client(near, c)
	// The pipe holds nothing: what the server says at the end must be read.
	go func() { _, _ = client.Read(make([]byte, 1)) }()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return shown{client.ConnectionState().PeerCertificates[0], server.ConnectionState().PeerCertificates[0]}
}
