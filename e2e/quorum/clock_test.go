//go:build servers && linux && amd64

package quorum_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A program of Go asks no library for the time but a function that the kernel maps into each process (the vDSO), and the
// kernel has one wall clock for all. So a process's own wall clock is set by writing another function over that one, in its
// memory alone: it asks the kernel and adds so many seconds, if what was asked for is the wall clock. The monotonic clock
// goes on as it was, which is what happens on a machine whose clock is set.
const (
	clockFunction = "__vdso_clock_gettime"
	// addend is where the function finds the seconds, from its own beginning.
	addend = 64
)

// clockCode is that function.
func clockCode() []byte {
	return []byte{
		0x57,                         // push rdi, the clock
		0x56,                         // push rsi, where the time goes
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
		0x0f, 0x05, // syscall
		0x5e,       // pop rsi
		0x5f,       // pop rdi
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x0a, // jne to the end
		0x48, 0x8b, 0x0d, addend - 22, 0x00, 0x00, 0x00, // mov rcx, [rip+...], the seconds
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	}
}

// errInside says that the process was stopped where it must not be changed: let it go on, and try again.
var errInside = errors.New("it stopped while it asked for the time")

// setClock makes the wall clock of a process that is stopped differ from the machine's by so much, in whole seconds.
func setClock(pid int, by time.Duration) (err error) {
	begin, end, err := vdso(pid)
	if err != nil {
		return err
	}
	if err := outside(pid, begin, end); err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	image := make([]byte, end-begin)
	if _, err := io.ReadFull(io.NewSectionReader(memory, int64(begin), int64(end-begin)), image); err != nil {
		return fmt.Errorf("read the clock of process %d: %w", pid, err)
	}
	at, err := function(image)
	if err != nil {
		return err
	}
	code := make([]byte, addend, addend+8)
	copy(code, clockCode())
	code = binary.LittleEndian.AppendUint64(code, uint64(int64(by/time.Second)))
	if _, err := memory.WriteAt(code, int64(begin+at)); err != nil {
		// A kernel may forbid it even to root.
		return fmt.Errorf("set the clock of process %d: %w: %w", pid, errors.ErrUnsupported, err)
	}
	return nil
}

// vdso is where the kernel's functions are in a process.
func vdso(pid int) (begin, end uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		_, err := fmt.Sscanf(line, "%x-%x ", &begin, &end)
		return begin, end, err
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO: %w", pid, errors.ErrUnsupported)
}

// outside makes sure that no thread would go on within what is written over.
func outside(pid int, begin, end uint64) error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("process %d has no threads: %w", pid, err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended
		}
		fields := bytes.Fields(line)
		if err != nil || len(fields) < 2 {
			return fmt.Errorf("%s: %q: %w", file, line, errors.Join(errInside, err)) // it runs
		}
		counter, err := strconv.ParseUint(strings.TrimPrefix(string(fields[len(fields)-1]), "0x"), 16, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if counter >= begin && counter < end {
			return fmt.Errorf("%s: %w", file, errInside)
		}
	}
	return nil
}

// function is where the clock's begins.
func function(image []byte) (uint64, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == clockFunction && s.Size >= addend+8 && s.Value+s.Size <= uint64(len(image)) {
			return s.Value, nil
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s of %d bytes or more: %w", clockFunction, addend+8, errors.ErrUnsupported)
}
