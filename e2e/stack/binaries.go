package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrMissing is wrapped by every error that says that a server is not installed.
var ErrMissing = errors.New("not installed")

// CacheDir is where the servers that are slow to get are kept: SWITCHYARD_CACHE, or switchyard in the user's cache.
func CacheDir() (string, error) {
	if dir := os.Getenv("SWITCHYARD_CACHE"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("SWITCHYARD_CACHE: %w", err)
		}
		return abs, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w; set SWITCHYARD_CACHE", err)
	}
	return filepath.Join(base, "switchyard"), nil
}

// program finds a program in PATH, then where Debian keeps servers that are not in every user's PATH.
func program(remedy string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"} {
			path := filepath.Join(dir, name)
			if executable(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is %w (looked in PATH and /usr/sbin): %s", names[0], ErrMissing, remedy)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// consulProgram prefers the cache: a consul in PATH can be of any version.
func consulProgram(cache string) (string, error) {
	path := filepath.Join(cache, "consul")
	if executable(path) {
		return path, nil
	}
	return program("run `make deps-consul`, which builds it into "+cache, "consul")
}

// HAProxyProgram is the HAProxy that StartHAProxy runs: the first one in PATH, or the system's.
func HAProxyProgram() (string, error) {
	return program("run `make deps-system`, or `apt-get install haproxy`", "haproxy")
}

// install is one installed database server: how it is called, and what it needs to be told about where it lives.
type install struct {
	argv     []string
	env      []string
	basics   map[string]string
	identity string
}

func locate(flavor Flavor, cache string) (install, error) {
	switch flavor {
	case MariaDB:
		return locateMariaDB()
	case MySQL:
		return locateMySQL(cache)
	case MySQL56:
		return locateMySQL56(cache)
	default:
		return install{}, fmt.Errorf("unknown flavor %q: use %s, %s or %s", flavor, MariaDB, MySQL, MySQL56)
	}
}

func locateMariaDB() (install, error) {
	path, err := program("run `make deps-system`, or `apt-get install mariadb-server`", "mariadbd")
	if err != nil {
		return install{}, err
	}
	return install{argv: []string{path}, identity: identity(path)}, nil
}

// locateMySQL finds the Debian root that holds MySQL 9.7. The server runs through the root's own dynamic loader,
// which needs no chroot and so no privilege.
func locateMySQL(cache string) (install, error) {
	root := filepath.Join(cache, "sid")
	server := filepath.Join(root, "usr/sbin/mysqld")
	if !executable(server) {
		return install{}, fmt.Errorf("MySQL 9.7 is %w (no %s): run `make deps-mysql` as root", ErrMissing, server)
	}
	// Absolute links of the root point outside of it, so the loader is looked for where it is, too.
	for _, loader := range []string{"lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2",
		"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"} {
		ld := filepath.Join(root, loader)
		if !executable(ld) {
			continue
		}
		libraries := filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "usr/lib/aarch64-linux-gnu")
		return install{
			argv: []string{ld, "--library-path", libraries, server},
			basics: map[string]string{
				"basedir":            filepath.Join(root, "usr"),
				"lc_messages_dir":    filepath.Join(root, "usr/share/mysql"),
				"character_sets_dir": filepath.Join(root, "usr/share/mysql/charsets"),
				"plugin_dir":         filepath.Join(root, "usr/lib/mysql/plugin"),
			},
			identity: identity(server),
		}, nil
	}
	return install{}, fmt.Errorf("%s has no dynamic loader: remove it and run `make deps-mysql` as root", root)
}

func locateMySQL56(cache string) (install, error) {
	dir := os.Getenv("MYSQL56_DIR")
	if dir == "" {
		dir = filepath.Join(cache, "mysql-5.6.24")
	}
	server := filepath.Join(dir, "mysqld")
	if !executable(server) {
		return install{}, fmt.Errorf("MySQL 5.6 is %w (no %s): run `make deps-mysql56 MYSQL56_ARCHIVE=FILE`, "+
			"or name the directory that holds mysqld and share/ in MYSQL56_DIR", ErrMissing, server)
	}
	return install{
		argv: []string{server},
		env:  []string{"LD_LIBRARY_PATH=" + dir},
		basics: map[string]string{
			"basedir":            dir,
			"lc_messages_dir":    filepath.Join(dir, "share"),
			"character_sets_dir": filepath.Join(dir, "share/charsets"),
		},
		identity: identity(server),
	}, nil
}

// identity changes when the program does, so that a data directory made by another version is not used again.
func identity(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
}
