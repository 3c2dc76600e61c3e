// Package consul keeps the masters' identities in the key-value store of one
// Consul datacenter, ordered by epoch: a lower one never replaces a higher one.
package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"switchyard/router/routes"
)

// Config names one datacenter's Consul.
type Config struct {
	// Datacenter is Consul's name of it. An agent of another one passes requests
	// on to it.
	Datacenter string
	// Address is http://HOST:PORT, https://HOST:PORT or HOST:PORT of an agent.
	Address string
	// Token is the ACL token; empty for what Consul's own environment variables
	// say, if anything.
	Token string
	// Prefix is the folder of all clusters' keys; empty for DefaultPrefix.
	Prefix string
	// Timeout bounds each call, on top of its context; 0 for DefaultTimeout.
	Timeout time.Duration
	// TLS is for an https address; nil for the system's authorities.
	TLS *tls.Config
}

const (
	// DefaultPrefix is where consumers of orchestrator's keys look already.
	DefaultPrefix = "mysql/master"
	// DefaultTimeout bounds a call when the configuration does not. An agent
	// whose servers are gone answers nothing for long.
	DefaultTimeout = time.Second
)

// Consul is one datacenter's directory of masters.
type Consul struct {
	config    Config
	client    *api.Client
	transport *http.Transport
	log       *slog.Logger
}

// New checks the configuration; it does not connect.
func New(config Config, log *slog.Logger) (*Consul, error) {
	config, err := config.checked()
	if err != nil {
		return nil, err
	}
	c := &Consul{config: config, log: log.With("datacenter", config.Datacenter)}
	c.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: config.Timeout}).DialContext,
		TLSClientConfig:     config.TLS,
		TLSHandshakeTimeout: config.Timeout,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
	}
	c.client, err = api.NewClient(&api.Config{Address: config.Address, Datacenter: config.Datacenter, Token: config.Token,
		Transport: c.transport, HttpClient: &http.Client{Transport: c.transport}})
	if err != nil {
		return nil, fmt.Errorf("consul %s: %w", config.Datacenter, err)
	}
	return c, nil
}

func (c Config) checked() (Config, error) {
	address := c.Address
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	target, err := url.Parse(address)
	c.Prefix = normalise(c.Prefix)
	switch {
	case c.Datacenter == "":
		return c, errors.New("consul: datacenter is empty: give Consul's name of it")
	case err != nil:
		// The error of url.Parse repeats the address, in which a password may be.
		return c, fmt.Errorf("consul %s: address cannot be read: want http://HOST:PORT", c.Datacenter)
	case target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return c, fmt.Errorf("consul %s: address %q: want http://HOST:PORT or https://HOST:PORT", c.Datacenter, target.Redacted())
	case target.User != nil:
		return c, fmt.Errorf("consul %s: address %q: a user does not belong in it; use a token", c.Datacenter, target.Redacted())
	case c.Timeout < 0:
		return c, fmt.Errorf("consul %s: timeout %s is negative", c.Datacenter, c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c, nil
}

// normalise returns the prefix without the slashes that Consul would take as
// empty folder names.
func normalise(prefix string) string {
	folders := strings.FieldsFunc(prefix, func(r rune) bool { return r == '/' })
	if len(folders) == 0 {
		return DefaultPrefix
	}
	return strings.Join(folders, "/")
}

// Datacenter returns Consul's name of the datacenter.
func (c *Consul) Datacenter() string { return c.config.Datacenter }

// Close lets go of idle connections.
func (c *Consul) Close() { c.transport.CloseIdleConnections() }

// maxRaces bounds how often a writer that was overtaken tries again. Each time,
// somebody else has written, and all but the highest epoch give up.
const maxRaces = 64

// Publish makes the keys of the record's cluster say what the record says, in
// one transaction, unless they hold a higher epoch: then it returns a
// *routes.HigherEpochError. It returns what was there before; nil where nothing
// had to be written.
//
// An epoch has one master. Keys of the same epoch that name another one were
// changed by hand, and so was an epoch that cannot be read: both are repaired.
func (c *Consul) Publish(ctx context.Context, record routes.Record) (was *routes.Holding, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	keys, err := c.keys(record.Cluster)
	if err == nil {
		err = record.Validate()
	}
	if err != nil {
		return nil, c.named(err)
	}
	for range maxRaces {
		held, err := c.read(ctx, keys)
		if err != nil {
			return nil, c.named(err)
		}
		write, err := held.decide(record)
		if err != nil || !write {
			return nil, c.named(err)
		}
		won, err := c.write(ctx, keys, held.index(), record)
		if err != nil {
			return nil, c.named(err)
		}
		if won {
			c.log.Debug("A master was published.", "cluster", record.Cluster, "epoch", record.Epoch, "master", record.Master)
			before := held.holding(record.Cluster)
			return &before, nil
		}
	}
	return nil, c.named(fmt.Errorf("cluster %s: overtaken by other writers %d times", record.Cluster, maxRaces))
}

// Read returns what the keys of a cluster hold, as far as it can be read; the
// zero epoch says that there is none.
func (c *Consul) Read(ctx context.Context, cluster string) (routes.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	keys, err := c.keys(cluster)
	if err != nil {
		return routes.Record{}, c.named(err)
	}
	held, err := c.read(ctx, keys)
	if err != nil {
		return routes.Record{}, c.named(err)
	}
	return held.record(cluster), nil
}

func (c *Consul) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("consul %s: %w", c.config.Datacenter, err)
}
