package stack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// templateVersion changes when the way templates are made does.
const templateVersion = 1

// keepFor is for how long a template is kept though another one is made.
const keepFor = 6 * time.Hour

// copyTemplate fills a data directory with a copy of the template: a cleanly shut down server with the stack's
// accounts and nothing else in it. The template is made once and kept in the cache, under a name that depends on
// everything it was made from. The lock is held while copying, so that nobody replaces the template meanwhile.
func (s *Stack) copyTemplate(ctx context.Context, flavor Flavor, inst install, to string) error {
	recipe := strings.Join(append(accountStatements(flavor), optionFile(small(flavor), inst.basics), inst.identity), "\n")
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", templateVersion, recipe))
	dir := filepath.Join(s.cache, "templates")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the data templates: %w", err)
	}
	final := filepath.Join(dir, fmt.Sprintf("%s-%x", flavor, sum[:8]))
	lock, err := lockFile(filepath.Join(dir, string(flavor)+".lock"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(final); err != nil {
		if err := s.keepTemplate(ctx, flavor, inst, dir, final); err != nil {
			return err
		}
	}
	if err := copyTree(final, to); err != nil {
		return fmt.Errorf("copy the %s data template: %w", flavor, err)
	}
	return nil
}

// keepTemplate makes the template, in place of those that other versions of the server or of the recipe left.
func (s *Stack) keepTemplate(ctx context.Context, flavor Flavor, inst install, dir, final string) error {
	s.log("initialising the %s data template (once)", flavor)
	work := filepath.Join(dir, string(flavor)+"-new")
	stale, err := filepath.Glob(filepath.Join(dir, string(flavor)+"-*"))
	if err != nil {
		return err
	}
	for _, old := range stale {
		// One that is fresh may be in use: tests of two versions that run side by side must not take turns in making theirs.
		if info, err := os.Stat(old); err == nil && old != work && time.Since(info.ModTime()) < keepFor {
			continue
		}
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("remove an old data template: %w", err)
		}
	}
	if err := s.makeTemplate(ctx, flavor, inst, work); err != nil {
		return errors.Join(fmt.Errorf("initialise %s: %w", flavor, err), os.RemoveAll(work))
	}
	if err := os.Rename(work, final); err != nil {
		return fmt.Errorf("keep the data template: %w", err)
	}
	return nil
}

func (s *Stack) makeTemplate(ctx context.Context, flavor Flavor, inst install, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := initialise(ctx, flavor, inst, dir); err != nil {
		return err
	}
	// A stack makes at most one template of a flavor: it fails with it, or finds it next time.
	name := fmt.Sprintf("template-%s", flavor)
	socket := filepath.Join(s.dir, name, "s.sock")
	private := map[string]string{"datadir": dir, "socket": socket, "skip_networking": "ON", "pid_file": name + ".pid"}
	server, err := s.prepareServer(name, flavor, inst, "", optionFile(small(flavor), inst.basics, private))
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	if err := settle(ctx, server); err != nil {
		return errors.Join(err, server.Kill())
	}
	if err := server.Stop(ctx); err != nil {
		return err
	}
	// Every copy makes an identity of its own.
	if err := os.Remove(filepath.Join(dir, "auto.cnf")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// settle drops the accounts that an initialisation leaves behind and makes those of the stack.
func settle(ctx context.Context, server *Server) error {
	db := server.Root()
	rows, err := db.QueryContext(ctx, "SELECT User, Host FROM mysql.user WHERE User = '' OR (User = 'root' AND Host <> 'localhost')")
	if err != nil {
		return fmt.Errorf("list the accounts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var statements []string
	for rows.Next() {
		var user, host string
		if err := rows.Scan(&user, &host); err != nil {
			return err
		}
		statements = append(statements, fmt.Sprintf("DROP USER '%s'@'%s'", user, host))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return server.Exec(ctx, append(statements, accountStatements(server.flavor)...)...)
}

// initialise fills an empty data directory with the flavor's system tables.
func initialise(ctx context.Context, flavor Flavor, inst install, dir string) error {
	common := []string{"--no-defaults", "--datadir=" + dir}
	if os.Geteuid() == 0 {
		common = append(common, "--user=root")
	}
	for key, value := range inst.basics {
		common = append(common, "--"+strings.ReplaceAll(key, "_", "-")+"="+value)
	}
	var cmd *exec.Cmd
	switch flavor {
	case MariaDB:
		path, err := program("run `make deps-system`, or `apt-get install mariadb-server`", "mariadb-install-db")
		if err != nil {
			return err
		}
		args := append(common, "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=32M")
		cmd = exec.CommandContext(ctx, path, args...)
	case MySQL:
		args := append(common, "--initialize-insecure", "--innodb-redo-log-capacity=32M")
		cmd = exec.CommandContext(ctx, inst.argv[0], append(inst.argv[1:len(inst.argv):len(inst.argv)], args...)...)
	default:
		script, err := bootstrapScript(inst.basics["lc_messages_dir"])
		if err != nil {
			return err
		}
		for _, schema := range []string{"mysql", "test"} {
			if err := os.Mkdir(filepath.Join(dir, schema), 0o700); err != nil {
				return err
			}
		}
		args := append(common, "--bootstrap", "--innodb-log-file-size=16M")
		cmd = exec.CommandContext(ctx, inst.argv[0], append(inst.argv[1:len(inst.argv):len(inst.argv)], args...)...)
		cmd.Stdin = strings.NewReader(script)
	}
	own, err := os.MkdirTemp("", "switchyard-init-")
	if err != nil {
		return fmt.Errorf("make a directory for temporary tables: %w", err)
	}
	defer func() { _ = os.RemoveAll(own) }() // what is left there is nobody's
	cmd.Env = append(append(os.Environ(), inst.env...), "TMPDIR="+own)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w; it said:\n%s", err, lastLines(strings.TrimSpace(string(output)), 15))
	}
	return nil
}

// bootstrapScript is how a server without --initialize gets its system tables.
func bootstrapScript(share string) (string, error) {
	script := "use mysql;\n"
	for _, name := range []string{"mysql_system_tables.sql", "mysql_system_tables_data.sql"} {
		content, err := os.ReadFile(filepath.Join(share, name))
		if err != nil {
			return "", err
		}
		script += string(content)
	}
	return script, nil
}

// copyTree copies a data directory; on file systems that can, the kernel shares the blocks.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		return copyFile(path, target, 0o600)
	})
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}
