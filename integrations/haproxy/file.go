package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	parser "github.com/haproxytech/client-native/v5/config-parser"
	"github.com/haproxytech/client-native/v5/config-parser/options"
	"github.com/haproxytech/client-native/v5/config-parser/params"
	"github.com/haproxytech/client-native/v5/config-parser/types"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// File is the configuration that a HAProxy starts with, kept in step with the
// routes: a reload or a restart then comes back with the current master, or
// with nobody, and never with a former one.
//
// Only the slot's one line is ever changed. client-native's parser has to
// understand it as it was meant. Its configuration client is not used: it
// writes a whole file anew in an order of its own, leaves out the words of a
// server line that it does not know, and runs the haproxy program to begin.
type File struct {
	proxy *Proxy
	path  string
	state string
	// create makes a temporary file; os.CreateTemp.
	create func(dir, pattern string) (*os.File, error)
	mu     *sync.Mutex
}

// File returns the proxy's configuration file, and its server-state file where
// it has one, which would otherwise overrule the configuration at a reload.
func (p *Proxy) File(path, state string) (*File, error) {
	if path == "" {
		return nil, p.named(errors.New("file is empty: name the configuration that it starts with"))
	}
	return &File{proxy: p, path: path, state: state, create: os.CreateTemp, mu: &sync.Mutex{}}, nil
}

// TakeTurns makes two slots that stand in one file wait for each other: when the
// masters of two clusters fail together, neither's change may undo the other's.
func (f *File) TakeTurns(other *File) { f.mu = other.mu }

// attempts bounds how often a change is begun anew because somebody else wrote
// the file meanwhile.
const attempts = 5

// errMeanwhile says that the file was changed between its reading and its writing.
var errMeanwhile = errors.New("somebody else writes it at the same time")

// Keep makes the file say what the table says. A withdrawal belongs into the
// file before the proxy is told, as it may be reloaded at any moment.
func (f *File) Keep(ctx context.Context, table routes.Table) error {
	at, err := f.proxy.address(ctx, table)
	if err != nil {
		return f.proxy.named(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := f.proxy.config.Backend
	steps := []func() error{func() error {
		return f.edit(f.path, func(text string) (string, error) { return move(text, slot, at) })
	}}
	if f.state != "" {
		steps = append(steps, func() error {
			err := f.edit(f.state, func(text string) (string, error) { return haproxy.ForgetServer(text, slot) })
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it is written at the next reload
			}
			return err
		})
	}
	for _, step := range steps {
		for range attempts {
			if err = ctx.Err(); err != nil {
				break
			}
			if err = step(); !errors.Is(err, errMeanwhile) && !errors.Is(err, haproxy.ErrUnfinished) {
				break
			}
		}
		if err != nil {
			return f.proxy.named(err)
		}
	}
	return nil
}

// move changes the slot's line, and has it read back by client-native.
func move(text string, slot haproxy.Backend, at netip.AddrPort) (string, error) {
	moved, err := haproxy.MoveServer(text, slot, at)
	if err != nil || moved == text {
		return text, err
	}
	line, err := haproxy.ServerLine(moved, slot)
	if err != nil {
		return "", err
	}
	server, err := parseServer(line)
	if err != nil {
		return "", err
	}
	disabled := slices.ContainsFunc(server.Params, func(o params.ServerOption) bool { return o.String() == "disabled" })
	if server.Name != slot.Server || disabled == at.IsValid() || at.IsValid() && server.Address != at.String() {
		return "", fmt.Errorf("the line %q would not lead to where it should: write it anew", strings.TrimSpace(line))
	}
	return moved, nil
}

// parseServer reads one server line. The words behind it keep the parser from
// looking for the value of a last one for ever.
func parseServer(line string) (types.Server, error) {
	text := "backend b\n" + strings.TrimRight(line, "\r\n") + "\n"
	if body, _, commented := strings.Cut(line, "#"); commented {
		text = "backend b\n" + body + "\n"
	}
	text = strings.TrimSuffix(text, "\n") + " - - -\n"
	parsed, err := parser.New(options.String(text))
	if err != nil {
		return types.Server{}, fmt.Errorf("parse %q: %w", strings.TrimSpace(line), err)
	}
	got, err := parsed.Get(parser.Backends, "b", "server")
	if err != nil {
		return types.Server{}, fmt.Errorf("parse %q: %w", strings.TrimSpace(line), err)
	}
	servers, ok := got.([]types.Server)
	if !ok || len(servers) != 1 {
		return types.Server{}, fmt.Errorf("parse %q: it is no server line", strings.TrimSpace(line))
	}
	return servers[0], nil
}

// edit replaces a file as a whole, unless somebody else has changed it since it
// was read. Nothing is written where nothing changes.
func (f *File) edit(path string, change func(string) (string, error)) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	text, err := change(string(before))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if text == string(before) {
		reserve(path, info.Size())
		return nil
	}
	temporary, err := f.write(path, text, info)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(now, before) {
		err = fmt.Errorf("%s: %w", path, errMeanwhile)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDir(filepath.Dir(path))
}

// write puts the text beside the file, on disk, with the file's mode and owner. On
// a disk that is full it takes the room that was reserved.
func (f *File) write(path, text string, like os.FileInfo) (name string, err error) {
	file, err := f.create(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		err = fmt.Errorf("%w; the sidecar's user must be able to write there", err)
	} else {
		name, err = fill(file, path, text, like)
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return name, err
	}
	// It is taken by its name first, so that no two ever write into it.
	taken := spareOf(path) + ".taken"
	if errSpare := os.Rename(spareOf(path), taken); errSpare != nil {
		return "", fmt.Errorf("%w; make room", err)
	}
	if file, err = os.OpenFile(taken, os.O_WRONLY, 0); err != nil {
		return "", err
	}
	return fill(file, path, text, like)
}

// spareOf is where room is kept for a file's next contents. HAProxy reads no file
// of a directory whose name begins with a dot.
func spareOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".spare")
}

// reserve keeps room for a file's next contents: a withdrawal that a reload would
// undo holds up a failover, and disks are full when much goes wrong. Where there
// is no room for that either, the next change says so itself.
func reserve(path string, size int64) {
	spare := spareOf(path)
	if info, err := os.Lstat(spare); err == nil && info.Mode().IsRegular() && info.Size() > size {
		return
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return
	}
	_, err = file.Write(make([]byte, size+4096))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), spare)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
}

// fill writes the text into a file that may have blocks already, and closes it.
func fill(file *os.File, path, text string, like os.FileInfo) (name string, err error) {
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := file.Chmod(like.Mode().Perm()); err != nil {
		return "", err
	}
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return "", fmt.Errorf("%w; run the sidecar as the owner of %s", err, path)
		}
	}
	if _, err := file.WriteString(text); err != nil {
		return "", err
	}
	return file.Name(), errors.Join(file.Truncate(int64(len(text))), file.Sync())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
