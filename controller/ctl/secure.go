package ctl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// access is how the controllers are known, and how the caller is to them. No
// secret is a flag: a command line is seen by everybody on the host.
type access struct {
	caFile, certFile, keyFile string
	tokenFile                 string
	user, passwordFile        string
	allowPlain                bool
}

// The variables of the environment that stand for flags, and for secrets.
const (
	envCA, envCert, envKey    = "SWITCHYARD_CA", "SWITCHYARD_CERT", "SWITCHYARD_KEY"
	envToken, envTokenFile    = "SWITCHYARD_TOKEN", "SWITCHYARD_TOKEN_FILE"
	envUser                   = "SWITCHYARD_USER"
	envPassword, envPasswords = "SWITCHYARD_PASSWORD", "SWITCHYARD_PASSWORD_FILE"
)

// NewSecureClient is NewClient with what the environment says of certificates,
// and of who calls.
func NewSecureClient(lists []string, timeout time.Duration, lookup func(string) (string, bool)) (*Client, error) {
	client, err := NewClient(lists, timeout)
	if err != nil {
		return nil, err
	}
	return client, access{}.secured(client, lookup)
}

func (a *access) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&a.caFile, "ca", "", "file with the CA of the controllers' certificates (or set "+envCA+")")
	flags.StringVar(&a.certFile, "cert", "", "file with a certificate of your own (or set "+envCert+")")
	flags.StringVar(&a.keyFile, "key", "", "file with its key (or set "+envKey+")")
	flags.StringVar(&a.tokenFile, "token-file", "", "file with your token (or set "+envTokenFile+", or "+envToken+" to the token)")
	flags.StringVar(&a.user, "user", "", "your name, for a password (or set "+envUser+")")
	flags.StringVar(&a.passwordFile, "password-file", "",
		"file with your password (or set "+envPasswords+", or "+envPassword+" to the password)")
	flags.BoolVar(&a.allowPlain, "allow-plain", false, "send a token or password over http:// too, for all to read")
}

// secured gives c what it needs, from flags, the environment and files.
func (a access) secured(c *Client, lookup func(string) (string, bool)) error {
	from := func(flag, variable string) string {
		if flag == "" {
			flag, _ = lookup(variable)
		}
		return flag
	}
	var err error
	if c.over, err = clientTLS(from(a.caFile, envCA), from(a.certFile, envCert), from(a.keyFile, envKey)); err != nil {
		return NewUsageError(err)
	}
	if c.authorization, err = a.authorization(from(a.user, envUser), lookup); err != nil {
		return NewUsageError(err)
	}
	return c.checkPlain(a.allowPlain)
}

// authorization says who calls; "" for nobody. What is on the command line goes
// before what is in the environment.
func (a access) authorization(user string, lookup func(string) (string, bool)) (string, error) {
	if a.tokenFile != "" && (a.user != "" || a.passwordFile != "") {
		return "", errors.New("--token-file goes without --user and --password-file: they are two ways to say who you are; keep one")
	}
	token := ""
	if a.user == "" && a.passwordFile == "" {
		var err error
		if token, err = secretFrom("token", a.tokenFile, envToken, envTokenFile, lookup); err != nil {
			return "", err
		}
	}
	switch {
	case token != "" && user != "" && a.tokenFile == "":
		return "", fmt.Errorf("the environment has a user (%s) and a token (%s): they are two ways to say who you are; keep one", envUser, envToken)
	case token != "":
		return "Bearer " + token, nil
	case user == "" && a.passwordFile != "":
		return "", fmt.Errorf("--password-file goes with a name; give --user, or set %s", envUser)
	case user == "":
		return "", nil
	}
	password, err := secretFrom("password", a.passwordFile, envPassword, envPasswords, lookup)
	switch {
	case err != nil:
		return "", err
	case password == "":
		return "", fmt.Errorf("the user %.40q has no password; give --password-file, or set %s", user, envPassword)
	case strings.Contains(user, ":"):
		return "", fmt.Errorf("the user %.40q has a colon in the name, which basic authentication cannot carry; correct it", user)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
}

// checkPlain keeps what proves who the caller is from the network.
func (c *Client) checkPlain(allowed bool) error {
	if c.authorization == "" || allowed {
		return nil
	}
	for _, base := range c.urls {
		u, err := url.Parse(base)
		if err != nil {
			return NewUsageError(fmt.Errorf("--api %q is not a URL; want https://HOST:PORT", base))
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if u.Scheme != "https" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
			return NewUsageError(fmt.Errorf("--api %s is plain, and your token or password would be there for all to read; "+
				"use https://, or give --allow-plain", base))
		}
	}
	return nil
}

// secretFrom reads a secret from the file that a flag names, from the
// environment, or from the file that it names; "" where there is none.
func secretFrom(what, flag, variable, fileVariable string, lookup func(string) (string, bool)) (string, error) {
	path := flag
	if path == "" {
		if value, ok := lookup(variable); ok && value != "" {
			return value, plainSecret(variable, value)
		}
		if path, _ = lookup(fileVariable); path == "" {
			return "", nil
		}
	}
	data, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("the %s in %s cannot be read: %w", what, path, err)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s is empty; write the %s into it", path, what)
	}
	return value, plainSecret(path, value)
}

func plainSecret(where, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s has a line break or another control character within; want the secret and nothing else", where)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	return data, errors.Join(err, file.Close())
}

// clientTLS verifies controllers by the CA, or by the system's roots.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := readFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--ca %s: %w", ca, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca %s has no PEM certificate; name the CA that signed the controllers'", ca)
		}
	}
	if cert == "" && key == "" {
		return c, nil
	}
	if cert == "" || key == "" {
		return nil, fmt.Errorf("--cert (%s) and --key (%s) go together; give both, or neither", envCert, envKey)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--cert %s and --key %s: %w; name PEM files that are a pair", cert, key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
