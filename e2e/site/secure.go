package site

import (
	"fmt"
	"net/url"
	"time"

	"switchyard/controller/ctl"
)

// Secure is how the controllers' ports are protected.
type Secure struct {
	// CA is the file of the CA of all certificates, and Certify returns the files of a controller's own, made for its host.
	CA      string
	Certify func(id, host string) (cert, key string)
	// Users is YAML, those who may call with a token; Token is that by which the site itself does.
	Users, Token string
}

func (s *Site) scheme() string {
	if s.options.Secure != nil {
		return "https"
	}
	return "http"
}

// secureConfig is what a controller's file says of TLS and of who may call.
func (s *Site) secureConfig(self *Controller) string {
	o := s.options.Secure
	if o == nil {
		return ""
	}
	u, err := url.Parse(self.URL)
	if err != nil {
		panic(err) // the URL was made here
	}
	cert, key := o.Certify(self.ID, u.Hostname())
	return fmt.Sprintf("raft: {tls: {ca: %q, cert: %q, key: %q}}\n"+
		"http: {tls: {ca: %q, cert: %q, key: %q}, auth: token, users: %s, open: [health, leader-check]}\n",
		o.CA, cert, key, o.CA, cert, key, o.Users)
}

// client asks controllers as the site does.
func (s *Site) client(timeout time.Duration, urls ...string) (*ctl.Client, error) {
	o := s.options.Secure
	if o == nil {
		return ctl.NewClient(urls, timeout)
	}
	return ctl.NewSecureClient(urls, timeout, func(name string) (string, bool) {
		value, ok := map[string]string{"SWITCHYARD_CA": o.CA, "SWITCHYARD_TOKEN": o.Token}[name]
		return value, ok
	})
}
