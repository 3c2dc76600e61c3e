package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"unicode"
)

// PathTail is where the sidecar beside a database that has crashed gives away
// what its server wrote last.
const PathTail = "/internal/v1/tail/open"

// Flavor is the kind of a server, and so how a set of transactions is written.
type Flavor string

// The flavors.
const (
	MySQL   Flavor = "mysql"
	MariaDB Flavor = "mariadb"
)

// Tail asks for what a crashed server's binary log has beyond Holds, for one
// replica to take.
type Tail struct {
	Controller string `json:"controller"`
	Cluster    string `json:"cluster"`
	// Server is the crashed one.
	Server string `json:"server"`
	Flavor Flavor `json:"flavor"`
	// Holds is what the replica has. Own is its server id on MariaDB.
	Holds string `json:"holds"`
	Own   uint32 `json:"own,omitempty"`
	// Token is used once: with the secret it makes the account of the replica.
	Token string `json:"token"`
	// ForMS is for how long transactions are given away, from now on.
	ForMS int `json:"for_ms"`
}

// TailReply says what there is, and where.
type TailReply struct {
	Who
	// Port is where, on the server's host, the replica takes it, as from any
	// replication source.
	Port int `json:"port"`
	// Set is the transactions, empty where there are none; Count and Bytes say how
	// many and how long.
	Set   string `json:"set,omitempty"`
	Count int    `json:"count,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	// Restarted is set where a process of the server runs again: what it has written
	// since its crash is not in the tail.
	Restarted bool `json:"restarted,omitempty"`
	// Problem says why there may be more than could be read.
	Problem string `json:"problem,omitempty"`
}

// TailAccount is the account by which the replica takes the tail of server that
// was asked for with a token. The user names the server's own port, so that who
// sees the replica knows whose tail it takes. The password is never sent.
func TailAccount(secret, server, token string) (user, password string) {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("switchyard tail " + token))
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		port = "0" // no message has such a server
	}
	// Servers take a replication password of 32 characters at most.
	return TailUser + port + "-" + token[:min(len(token), 10)], hex.EncodeToString(mac.Sum(nil))[:32]
}

// TailUser begins the user of such an account.
const TailUser = "switchyard-tail-"

// maxSet is the longest set of transactions, in bytes.
const maxSet = 48 << 10

func transactions(field, value string) error {
	if len(value) > maxSet {
		return fmt.Errorf("%s has %d bytes, want at most %d", field, len(value), maxSet)
	}
	for _, r := range value {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return fmt.Errorf("%s has the character %q, which is in no set of transactions", field, r)
		}
	}
	return nil
}

func (t Tail) check() error {
	err := errors.Join(text("controller", t.Controller, maxName, false), text("cluster", t.Cluster, maxName, false),
		hostPort("server", t.Server), oneOf("flavor", t.Flavor, MySQL, MariaDB), transactions("holds", t.Holds),
		text("token", t.Token, maxName, false), within("for_ms", t.ForMS, 1, maxMS))
	if len(t.Token) < 20 {
		err = errors.Join(err, errors.New("token is too short to be guessed by nobody"))
	}
	return err
}

func (t TailReply) check() error {
	err := errors.Join(t.Who.check(), within("port", t.Port, 1, 1<<16-1), transactions("set", t.Set),
		text("problem", t.Problem, maxDetail, true))
	if (t.Set == "") != (t.Count == 0) || t.Count < 0 || t.Bytes < 0 {
		err = errors.Join(err, fmt.Errorf("count is %d, with the set %q", t.Count, t.Set))
	}
	return err
}
