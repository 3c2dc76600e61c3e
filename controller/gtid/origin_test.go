package gtid_test

import (
	"testing"

	"switchyard/controller/gtid"
)

func TestWithoutOrigin(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"
	mysql, err := gtid.ParseMySQL(a + ":1-5:tag:1-3," + b + ":7")
	if err != nil {
		t.Fatal(err)
	}
	if got := mysql.WithoutOrigin(a, 0).String(); got != b+":7" {
		t.Errorf("got %q", got)
	}
	if got := mysql.WithoutOrigin("", 1); !got.Equal(mysql) {
		t.Errorf("got %q", got)
	}
	mariadb, err := gtid.ParseMariaDB(2, "0-1-5,0-2-7,1-1-3")
	if err != nil {
		t.Fatal(err)
	}
	if got := mariadb.WithoutOrigin("", 1).String(); got != "0-2-7" {
		t.Errorf("got %q", got)
	}
}
