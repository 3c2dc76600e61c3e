package config_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/config"
)

// TestTLSBuild does real handshakes with a server whose name is db1.
func TestTLSBuild(t *testing.T) {
	cert, key := certificate(t)
	other, _ := certificate(t)
	path := write(t, base, map[string]string{"cert.pem": cert, "key.pem": key, "other.pem": other})
	file := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	for _, tc := range []struct {
		name       string
		tls        config.TLS
		serverName string
		refused    string
	}{
		{"preferred", config.TLS{Mode: config.TLSPreferred}, "", ""},
		{"required", config.TLS{Mode: config.TLSRequired}, "", ""},
		{"verify_ca by another name", config.TLS{Mode: config.TLSVerifyCA, CA: file("cert.pem")}, "db2", ""},
		{"verify_ca of another CA", config.TLS{Mode: config.TLSVerifyCA, CA: file("other.pem")}, "db1", "unknown authority"},
		{"verify_identity", config.TLS{Mode: config.TLSVerifyIdentity, CA: file("cert.pem")}, "db1", ""},
		{"verify_identity by another name", config.TLS{Mode: config.TLSVerifyIdentity, CA: file("cert.pem")}, "db2", "db2"},
		{"verify_identity of another CA", config.TLS{Mode: config.TLSVerifyIdentity, CA: file("other.pem")}, "db1", "unknown authority"},
		{"client certificate", config.TLS{Mode: config.TLSRequired, Cert: file("cert.pem"), Key: file("key.pem")}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, err := tc.tls.Build()
			if err != nil {
				t.Fatal(err)
			}
			client.ServerName = tc.serverName
			got := handshake(t, client, file("cert.pem"), file("key.pem"), tc.tls.Cert != "")
			if tc.refused == "" && got != nil {
				t.Errorf("refused: %v", got)
			}
			if tc.refused != "" && (got == nil || !strings.Contains(got.Error(), tc.refused)) {
				t.Errorf("got %v, want it refused for %q", got, tc.refused)
			}
		})
	}
	if c, err := (config.TLS{Mode: config.TLSDisabled}).Build(); c != nil || err != nil {
		t.Errorf("disabled: got %v, %v", c, err)
	}
	consul, err := config.ConsulTLS{CA: file("cert.pem"), ServerName: "db1"}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, consul, file("cert.pem"), file("key.pem"), false); err != nil {
		t.Errorf("consul: %v", err)
	}
}

// handshake returns the client's error; needsClient wants a client certificate.
func handshake(t *testing.T, client *tls.Config, cert, key string, needsClient bool) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}}
	if needsClient {
		server.ClientAuth = tls.RequireAnyClientCert
	}
	near, far := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() {
		served <- tls.Server(far, server).Handshake()
		_ = far.Close()
	}()
	err = tls.Client(near, client).Handshake()
	_ = near.Close()
	if serverErr := <-served; err == nil && needsClient {
		return serverErr
	}
	return err
}
