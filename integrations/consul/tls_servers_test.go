//go:build servers

package consul

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"switchyard/e2e/stack"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{t: t, cert: cert, key: key, pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue returns a certificate for an address, and its key, as PEM.
func (a *authority) issue(ip string) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server.dc1.consul"},
		DNSNames: []string{"server.dc1.consul"}, IPAddresses: []net.IP{net.ParseIP(ip)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	must(a.t, err)
	raw, err := x509.MarshalECPrivateKey(private)
	must(a.t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
}

// client is what a controller with a certificate of the authority has.
func (a *authority) client() *tls.Config {
	a.t.Helper()
	cert, key := a.issue("127.0.0.1")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	must(a.t, err)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// TestOwnTLSWithClientsAndTokens starts a Consul that speaks TLS only, wants a
// certificate of its clients, and denies by default; and takes a token back.
func TestOwnTLSWithClientsAndTokens(t *testing.T) {
	const manager, port = "11111111-2222-3333-4444-555555555555", 8501
	s, ctx := newStack(t)
	ip, err := s.IP(8300, 8301, 8302, port, 8502, 8503, 8600)
	must(t, err)
	cache, err := stack.CacheDir()
	must(t, err)
	a := newAuthority(t)
	cert, key := a.issue(ip)
	config := fmt.Sprintf("node_name = \"one\"\ndatacenter = \"dc1\"\ndata_dir = %q\nbind_addr = %q\nclient_addr = %q\n"+
		"server = true\nbootstrap_expect = 1\ndisable_update_check = true\nperformance { raft_multiplier = 1 }\n"+
		"ports { http = -1 https = %d }\n"+
		"tls { defaults { ca_file = \"ca.pem\" cert_file = \"cert.pem\" key_file = \"key.pem\" verify_incoming = true } }\n"+
		"acl { enabled = true default_policy = \"deny\" tokens { initial_management = %q } }\n",
		filepath.Join(s.Dir(), "tls-data"), ip, ip, port, manager)
	process, err := s.StartProcess(ctx, stack.ProcessSpec{Name: "tls", Path: filepath.Join(cache, "consul"),
		Args:  []string{"agent", "-config-file=consul.hcl"},
		Files: map[string]string{"consul.hcl": config, "ca.pem": a.pem, "cert.pem": cert, "key.pem": key}})
	must(t, err)
	base := Config{Datacenter: "dc1", Address: fmt.Sprintf("https://%s:%d", ip, port), Timeout: 10 * time.Second, TLS: a.client()}
	admin, err := New(Config{Datacenter: "dc1", Address: base.Address, Timeout: time.Second, Token: manager, TLS: a.client()},
		slog.New(slog.DiscardHandler))
	must(t, err)
	defer admin.Close()
	var token *api.ACLToken
	must(t, process.WaitFor(ctx, "taking tokens", func(ctx context.Context) error {
		options := new(api.WriteOptions).WithContext(ctx)
		policy, _, err := admin.client.ACL().PolicyCreate(&api.ACLPolicy{Name: "switchyard",
			Rules: `key_prefix "mysql/master/" { policy = "write" }`}, options)
		if err == nil {
			token, _, err = admin.client.ACL().TokenCreate(&api.ACLToken{
				Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, options)
		}
		return err
	}))
	allowed := base
	allowed.Token = token.SecretID
	c := newConsul(t, allowed)
	publish(t, ctx, c, record(1, "db1"), true)

	bare, strange := allowed, allowed
	bare.TLS = a.client()
	bare.TLS.Certificates = nil
	// Whoever is refused may still be writing when the connection ends, and then hears no reason.
	said := "nothing"
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(said, "certificate"); {
		_, err := newConsul(t, bare).Publish(ctx, record(2, "db2"))
		if err == nil {
			t.Fatal("it is let in without a certificate")
		}
		if said = err.Error(); time.Now().After(deadline) {
			t.Fatalf("without a certificate: %s", said)
		}
	}
	strange.TLS = newAuthority(t).client()
	var unknown *tls.CertificateVerificationError
	if _, err := newConsul(t, strange).Publish(ctx, record(2, "db2")); !errors.As(err, &unknown) {
		t.Errorf("of another authority: %v", err)
	}

	// What was written stays when the token is taken back, and the reason is said.
	_, err = admin.client.ACL().TokenDelete(token.AccessorID, new(api.WriteOptions).WithContext(ctx))
	must(t, err)
	must(t, process.WaitFor(ctx, "refusing the token", func(ctx context.Context) error {
		was, err := c.Publish(ctx, record(1, "db1"))
		if err == nil {
			return errors.New("it is taken still")
		}
		if was != nil || strings.Contains(err.Error(), token.SecretID) ||
			!strings.Contains(err.Error(), "ACL not found") && !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("a token that was taken back: %v, %v", was, err)
		}
		return nil
	}))
	if _, err := c.Inspect(ctx, "shop"); err == nil || strings.Contains(err.Error(), token.SecretID) {
		t.Errorf("Inspect() = %v", err)
	}
	admin.config.Timeout = 10 * time.Second
	if got, err := admin.Inspect(ctx, "shop"); err != nil || got.Record != record(1, "db1") || len(got.Faults) != 0 {
		t.Errorf("it holds %+v, %v", got, err)
	}
}
