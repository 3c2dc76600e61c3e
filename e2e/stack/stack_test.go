package stack

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// On a machine without servers, the error says which one is missing and how to get it.
func TestMissingServersAreNamed(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("MYSQL56_DIR", "")
	for flavor, remedy := range map[Flavor]string{MySQL: "make deps-mysql", MySQL56: "make deps-mysql56"} {
		_, err := locate(flavor, empty)
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), remedy) || !strings.Contains(err.Error(), empty) {
			t.Errorf("%s: %v, want an error that names the place and %q", flavor, err, remedy)
		}
	}
	t.Setenv("PATH", empty)
	if _, err := program("run `make something`", "no-such-server"); !errors.Is(err, ErrMissing) ||
		!strings.Contains(err.Error(), "make something") {
		t.Errorf("%v, want an error that names the remedy", err)
	}
	if _, err := locate("oracle", empty); err == nil || !strings.Contains(err.Error(), `unknown flavor "oracle"`) {
		t.Errorf("an unknown flavor ended with %v", err)
	}
}

func TestMySQL56IsTestedWhereItIsNamed(t *testing.T) {
	t.Setenv("SWITCHYARD_CACHE", t.TempDir())
	t.Setenv("MYSQL56_DIR", "")
	if slices.Contains(Flavors(), MySQL56) {
		t.Error("MySQL 5.6 is to be tested on a machine that has none")
	}
	// A directory that is named and wrong has to fail a test, not to vanish from it.
	t.Setenv("MYSQL56_DIR", "/no/such/directory")
	if !slices.Contains(Flavors(), MySQL56) {
		t.Error("MySQL 5.6 is named and not tested")
	}
}

func TestEnvironmentNamesTheCache(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SWITCHYARD_CACHE", dir)
	if got, err := CacheDir(); err != nil || got != dir {
		t.Errorf("cache %s (%v), want %s", got, err, dir)
	}
}

func TestOptionFileIsStableAndLaterLayersWin(t *testing.T) {
	got := optionFile(map[string]string{"port": "1", "bind_address": "a"}, map[string]string{"port": "2"})
	if want := "[mysqld]\nbind_address = a\nport = 2\n"; got != want {
		t.Errorf("option file %q, want %q", got, want)
	}
}

func TestServersBootReadOnlyAndDurable(t *testing.T) {
	for _, flavor := range []Flavor{MariaDB, MySQL, MySQL56} {
		options := replicationOptions(flavor)
		for key, want := range map[string]string{"read_only": "ON", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
			"relay_log_recovery": "ON"} {
			if options[key] != want {
				t.Errorf("%s: %s is %q, want %q", flavor, key, options[key], want)
			}
		}
	}
}

func TestTail(t *testing.T) {
	if got := tail(filepath.Join(t.TempDir(), "none")); !strings.HasPrefix(got, "(no log:") {
		t.Errorf("a missing log reads %q", got)
	}
	if got := lastLines("a\nb\nc", 2); got != "b\nc" {
		t.Errorf("last lines %q", got)
	}
}
