package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Disk is a small file system of a stack's own, in a file, on which a server's data directory can be placed and
// which can then be made sick. To mount it takes root.
type Disk struct {
	dir string // where it is mounted

	mu     sync.Mutex
	freeze *exec.Cmd // holds the file system frozen for as long as its input is open
	held   io.Closer
}

// NewDisk makes a file system of so many megabytes; Close of the stack removes it.
func (s *Stack) NewDisk(ctx context.Context, name string, megabytes int) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a disk of the test's own has to be mounted: run as root")
	}
	dir, err := s.folder(name)
	if err != nil {
		return nil, err
	}
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		return nil, fmt.Errorf("make the mount point: %w", err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make the disk's file: %w", err)
	}
	if err := os.Truncate(image, int64(megabytes)<<20); err != nil {
		return nil, fmt.Errorf("size the disk's file: %w", err)
	}
	// Nothing is kept back for root, as whom the servers of a test may run.
	if err := run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", image); err != nil {
		return nil, err
	}
	if err := run(ctx, "mount", "-o", "loop", image, mount); err != nil {
		return nil, err
	}
	d := &Disk{dir: mount}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disks = append(s.disks, d)
	return d, nil
}

func run(ctx context.Context, name string, args ...string) error {
	path, err := program("install e2fsprogs and util-linux", name)
	if err != nil {
		return err
	}
	if output, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// Dir is where the disk is mounted.
func (d *Disk) Dir() string { return d.dir }

// Stall makes every write to the disk wait until Resume, or until this process ends: whoever writes cannot even be
// killed meanwhile.
func (d *Disk) Stall() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.freeze != nil {
		return nil
	}
	// The shell waits for the end of its input, which comes with our end too.
	cmd := exec.Command("sh", "-c", `fsfreeze -f "$0" && echo frozen && cat >/dev/null; fsfreeze -u "$0"`, d.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("stall the disk: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("stall the disk: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the test must not end it first
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("stall the disk: %w", err)
	}
	said := make([]byte, len("frozen"))
	if _, err := io.ReadFull(out, said); err != nil {
		return errors.Join(fmt.Errorf("stall the disk: %w", err), in.Close(), cmd.Wait())
	}
	d.freeze, d.held = cmd, in
	return nil
}

// Resume lets the writes go on.
func (d *Disk) Resume() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.freeze == nil {
		return nil
	}
	err := errors.Join(d.held.Close(), d.freeze.Wait())
	d.freeze = nil
	if err != nil {
		return fmt.Errorf("resume the disk: %w", err)
	}
	return nil
}

func (d *Disk) filler() string { return filepath.Join(d.dir, "filler") }

// Fill takes all the space that is left.
func (d *Disk) Fill() (err error) {
	file, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		_, err := file.Write(block[:size])
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	// What was only promised so far must be there.
	if err := file.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	return nil
}

// Free gives the space back.
func (d *Disk) Free() error {
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

// Abort makes the file system read-only, as a broken device does. It stays so.
func (d *Disk) Abort(ctx context.Context) error {
	return run(ctx, "mount", "-o", "remount,abort", d.dir)
}

// unmount is for the end, when nobody uses it any more.
func (d *Disk) unmount() error {
	ctx := context.Background()
	return errors.Join(d.Resume(), run(ctx, "umount", "-l", d.dir))
}
