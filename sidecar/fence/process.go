package fence

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Kind is how a process ended.
type Kind int

// The kinds of an end.
const (
	// Vanished: it is gone, and nobody could say how. It did not remove its pid
	// file, as it does at the end of a shutdown.
	Vanished Kind = iota
	// Clean: it ended by itself, without an error.
	Clean
	// Failed: it ended by itself, with an error.
	Failed
	// Killed: a signal ended it, SIGSEGV and SIGABRT of its own making among them.
	Killed
)

// String returns the word.
func (k Kind) String() string {
	words := []string{"vanished", "clean", "failed", "killed"}
	if k < 0 || int(k) >= len(words) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return words[k]
}

// Exit is the end of a process.
type Exit struct {
	Kind Kind
	// Status is the exit status of Failed, or the number of the signal of Killed.
	Status int
}

// ErrNoProcess is returned, wrapped, where no process stands behind a socket.
var ErrNoProcess = errors.New("no process")

// Place is where a server is found on this host.
type Place struct {
	// Socket is the path of its unix socket; whoever listens there is the server.
	Socket string
	// PIDFile is the path of its pid file. It is optional, and tells a clean exit
	// from others where the kernel does not.
	PIDFile string
}

// pidIn reads a pid file.
func pidIn(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s: %.20q is not the id of a server's process", path, text)
	}
	return pid, nil
}
