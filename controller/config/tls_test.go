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

// TestRaftTLS has a certificate for db1, and asks whether other controllers
// would take it.
func TestRaftTLS(t *testing.T) {
	cert, key := certificate(t)
	other, _ := certificate(t)
	beside := map[string]string{"ca.pem": cert, "c1.pem": cert, "c1-key.pem": key, "other.pem": other}
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"by server_name", "raft: {tls: {ca: ca.pem, cert: c1.pem, key: c1-key.pem, server_name: db1}}\n", nil},
		{"by address", "raft: {tls: {ca: ca.pem, cert: c1.pem, key: c1-key.pem}}\n",
			[]string{"raft.tls.cert (line 19)", "127.0.0.1", "would not be accepted by the other controllers"}},
		{"of another CA", "raft: {tls: {ca: other.pem, cert: c1.pem, key: c1-key.pem, server_name: db1}}\n",
			[]string{"raft.tls.cert", "unknown authority", "other.pem"}},
		{"of another key", "raft: {tls: {ca: ca.pem, cert: other.pem, key: c1-key.pem, server_name: db1}}\n",
			[]string{"raft.tls.cert", "no pair"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := config.Load(write(t, base+tc.text, beside), environment)
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				conf, err := f.Raft.TLS.Build()
				if err != nil || conf.MinVersion != tls.VersionTLS13 || conf.ServerName != "db1" || len(conf.Certificates) != 1 {
					t.Errorf("got %+v, %v", conf, err)
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to name %q", err, want)
				}
			}
		})
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
