package config

import (
	"strings"
	"testing"
	"time"
)

const plainDatabase = withDatabase + `database:
  cluster: shop
  server: "db-a:3306"
  socket: run/s
  user: u
  password: p
  keep_users: [c]
`

func TestBinlog(t *testing.T) {
	f, err := read(plainDatabase + `  binlog: {index: data/bin.index, listen: "10.0.0.1:8812"}`)
	if err != nil {
		t.Fatal(err)
	}
	b := f.Database.Binlog
	if !b.Given() || b.Index != "/etc/data/bin.index" || b.DataDir != "/etc/data" || b.Listen != "10.0.0.1:8812" || b.Hold != 5*time.Second {
		t.Errorf("%+v", b)
	}
	if f, err = read(plainDatabase); err != nil || f.Database.Binlog.Given() {
		t.Errorf("%+v, %v", f, err)
	}
	for text, want := range map[string]string{
		`{listen: "10.0.0.1:8812"}`:                                  "database.binlog.index: is missing; name the binary log's index file",
		`{index: data/bin.index}`:                                    "database.binlog.listen: is missing; give HOST:PORT",
		`{index: data/bin.index, listen: "10.0.0.1:8812", hold: 2m}`: "database.binlog.hold (line 14): is 2m0s; want 0s",
		`{index: data/bin.index, listen: a}`:                         "database.binlog.listen (line 14)",
	} {
		if _, err := read(plainDatabase + "  binlog: " + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
