package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/config"
)

// carriage is how HTTP is protected: server for this controller's own door, nil
// where it is plain, and client for calls of the other controllers'.
type carriage struct{ server, client *tls.Config }

func newCarriage(c *config.File) (carriage, error) {
	way, err := carry(c.HTTP.TLS, time.Now, newLogger(c))
	if err != nil {
		return way, &StartError{fmt.Errorf("http.tls: %w", err)}
	}
	return way, nil
}

// carry reads the files, and goes on reading them.
func carry(files config.HTTPTLS, now func() time.Time, log *slog.Logger) (carriage, error) {
	server, err := files.Server()
	if err != nil {
		return carriage{}, err
	}
	client, err := files.Client()
	if err != nil {
		return carriage{}, err
	}
	out := carriage{client: newRenewed(client, files.Client, now, log).client()}
	if server != nil {
		out.server = newRenewed(server, files.Server, now, log).server()
	}
	return out, nil
}

// peers makes this controller's calls of the others.
func (w carriage) peers(c *config.File) adminapi.Peers {
	return adminapi.NewPeers(c.Secret.Reveal()).Over(w.client)
}

// authOf is who may do what at the door.
func authOf(h config.HTTP) adminapi.Auth {
	auth := adminapi.Auth{Mode: adminapi.AuthMode(h.Auth), Header: h.Proxy.Header, Role: h.Proxy.Role}
	for _, u := range h.Users {
		auth.Users = append(auth.Users, adminapi.User{Name: u.Name, Role: u.Role, Secret: u.Secret().Reveal()})
	}
	for _, n := range h.Proxy.From {
		auth.Proxies = append(auth.Proxies, n.Prefix())
	}
	for _, o := range h.Open {
		auth.Open = append(auth.Open, string(o))
	}
	return auth
}
