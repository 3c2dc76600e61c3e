package config

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	controller "switchyard/controller/config"
)

// Database is the mysqld beside this sidecar; without a cluster there is none.
type Database struct {
	Cluster string `yaml:"cluster"`
	// Server is the server's HOST:PORT as the controllers know it.
	Server string `yaml:"server"`
	// Socket is its unix socket, and PIDFile its pid file, which tells a shutdown
	// from a crash where the kernel does not.
	Socket  string `yaml:"socket"`
	PIDFile string `yaml:"pid_file"`

	User         string            `yaml:"user"`
	Password     controller.Secret `yaml:"password"`
	PasswordFile string            `yaml:"password_file"`
	// KeepUsers are accounts whose sessions no fence ends: the controllers', and
	// those that only look.
	KeepUsers []string `yaml:"keep_users"`
	// ReplicationUser is the account by which replicas receive.
	ReplicationUser string `yaml:"replication_user"`

	// Binlog is where the server's binary log is.
	Binlog Binlog `yaml:"binlog"`

	// Peers are the sidecars beside the other servers of the cluster.
	Peers []Peer `yaml:"peers"`

	// Renew is how often each controller, and each peer, is asked.
	Renew time.Duration `yaml:"renew"`
	// Fence is how long read-only may take to be in force, and Kill how long a
	// killed process may take to be gone.
	Fence time.Duration `yaml:"fence"`
	Kill  time.Duration `yaml:"kill"`
	// Tie kills the server at the end of its lease even if this sidecar is dead
	// or frozen by then.
	Tie bool `yaml:"tie"`
}

// Peer is the sidecar beside another server of the cluster.
type Peer struct {
	Name string `yaml:"name"`
	// HTTP is http://HOST:PORT.
	HTTP string `yaml:"http"`
}

// Given reports whether there is a database to stand beside.
func (d Database) Given() bool { return d.Cluster != "" }

// longestSocket is how long the kernel lets the path of a unix socket be.
const longestSocket = 107

// WatchdogSocket is where the watchdog of a tied server listens.
func (f *File) WatchdogSocket() string { return filepath.Join(f.StateDir, "watchdog.sock") }

// checkDatabase completes what is said of the database beside this sidecar,
// and says what is wrong with it.
func checkDatabase(d *controller.Document, f *File) error {
	if !d.Has("database") {
		return nil
	}
	b := &f.Database
	b.PIDFile, b.PasswordFile, b.Socket = d.Path(b.PIDFile), d.Path(b.PasswordFile), d.Path(b.Socket)
	if err := d.CheckClusterName("database.cluster", b.Cluster); err != nil {
		return err
	}
	if err := d.CheckAdvertised("database.server", b.Server); err != nil {
		return err
	}
	// As the controllers write it.
	host, port, _ := net.SplitHostPort(b.Server)
	b.Server = net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
	for _, field := range []struct{ key, value, remedy string }{
		{"database.socket", b.Socket, "name the server's unix socket (@@socket): it is fenced through it, and its process is found by it"},
		{"database.user", b.User, "name an account for this sidecar alone, on 'localhost'"},
	} {
		if err := d.Require(field.key, field.value, field.remedy); err != nil {
			return err
		}
	}
	if err := d.TakeSecret("database.password", &b.Password, b.PasswordFile); err != nil {
		return err
	}
	if len(b.KeepUsers) == 0 {
		return d.Errorf("database.keep_users", "names nobody; name the controllers' account at least (mysql.user of their files): "+
			"the fence would end their sessions too")
	}
	for i, user := range b.KeepUsers {
		if err := d.Require(fmt.Sprintf("database.keep_users[%d]", i), user, "name an account, without its host"); err != nil {
			return err
		}
	}
	if err := checkTimes(d, b); err != nil {
		return err
	}
	if err := checkBinlog(d, &b.Binlog); err != nil {
		return err
	}
	if path := f.WatchdogSocket(); b.Tie && len(path) > longestSocket {
		return d.Errorf("state_dir", "is too long for database.tie: the path %s has %d bytes, and a unix socket's at most %d; "+
			"name a shorter one", path, len(path), longestSocket)
	}
	return checkPeers(d, f)
}

func checkTimes(d *controller.Document, b *Database) error {
	b.Renew = cmp.Or(b.Renew, time.Second)
	b.Fence = cmp.Or(b.Fence, time.Second)
	b.Kill = cmp.Or(b.Kill, time.Second)
	for _, t := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"database.renew", b.Renew, 50 * time.Millisecond, 10 * time.Second},
		{"database.fence", b.Fence, 100 * time.Millisecond, time.Minute},
		{"database.kill", b.Kill, 100 * time.Millisecond, time.Minute},
	} {
		if t.value < t.least || t.value > t.most {
			return d.Errorf(t.key, "is %s; want %s to %s", t.value, t.least, t.most)
		}
	}
	return nil
}

func checkPeers(d *controller.Document, f *File) error {
	names, urls := map[string]string{f.Name: "name"}, map[string]string{}
	for i, p := range f.Database.Peers {
		at := fmt.Sprintf("database.peers[%d]", i)
		if err := d.CheckName(at+".name", p.Name, "it is the name in the other sidecar's own file"); err != nil {
			return err
		}
		if _, err := d.CheckURL(at+".http", p.HTTP); err != nil {
			return err
		}
		if err := d.Unique(names, p.Name, at+".name", "name each of the other sidecars once"); err != nil {
			return err
		}
		if err := d.Unique(urls, p.HTTP, at+".http", "give each sidecar's own address"); err != nil {
			return err
		}
	}
	return nil
}
