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
	return s.buildProgram(ctx, "switchyard", ".", tags...)
}

// buildStandin builds the stand-in for ProxySQL in the same way.
func (s *Stack) buildStandin(ctx context.Context) (string, error) {
	return s.buildProgram(ctx, "standin", "./e2e/standin")
}

func (s *Stack) buildProgram(ctx context.Context, program, source string, tags ...string) (path string, err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	name := strings.Join(append([]string{program}, tags...), "-")
	dir := filepath.Join(s.cache, "build", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the build directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	// A stack builds a program once: one that runs cannot be written over.
	path = filepath.Join(s.dir, name+"-bin")
	if executable(path) {
		return path, nil
	}
	built := filepath.Join(dir, program)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", built, source)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s in %s: %w\n%s", source, root, err, strings.TrimSpace(string(output)))
	}
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
