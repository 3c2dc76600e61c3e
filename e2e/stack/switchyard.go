package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// StartController runs one `switchyard controller` process on a configuration. It does not wait until the controller
// is ready: who is leader is a question to all of them.
func (s *Stack) StartController(ctx context.Context, binary, name, config string) (*Process, error) {
	return s.StartProcess(ctx, ProcessSpec{Name: name, Path: binary,
		Args: []string{"controller", "--config", "switchyard.yaml"}, Files: map[string]string{"switchyard.yaml": config}})
}

// BuildSwitchyard builds the product's binary with the given build tags and returns a copy of it in the stack's
// directory. The build itself is kept in the cache, where the next stack finds it up to date.
func (s *Stack) BuildSwitchyard(ctx context.Context, tags ...string) (path string, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.cache, "build", strings.Join(append([]string{"switchyard"}, tags...), "-"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the build directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	built := filepath.Join(dir, "switchyard")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", built, ".")
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w\n%s", root, err, strings.TrimSpace(string(output)))
	}
	path = filepath.Join(s.dir, strings.Join(append([]string{"switchyard"}, tags...), "-")+"-bin")
	if err := copyFile(built, path, 0o700); err != nil {
		return "", fmt.Errorf("copy the binary: %w", err)
	}
	return path, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "switchyard").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's directory (go list -m switchyard): %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
