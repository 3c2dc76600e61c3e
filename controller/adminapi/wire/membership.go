package wire

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// PathChangeControllers is where controllers are added, removed and moved.
const PathChangeControllers = "/api/v1/change-controllers"

// The changes of the controllers.
const (
	AddController    = "add"
	RemoveController = "remove"
	MoveController   = "move"
)

// ControllersRequest is the body of POST /api/v1/change-controllers.
type ControllersRequest struct {
	// Change is add, remove or move, and ID whom.
	Change string `json:"change"`
	ID     string `json:"id"`
	// Raft is HOST:PORT and API a URL, as the others reach it; to remove takes none.
	Raft       string `json:"raft,omitempty"`
	API        string `json:"api,omitempty"`
	DataCenter string `json:"dc,omitempty"`
	// Nonvoter adds one that follows and never counts.
	Nonvoter bool `json:"nonvoter,omitempty"`
	Asker
}

// Check says what is wrong with r.
func (r ControllersRequest) Check() *Error {
	if err := CheckName("id", r.ID); err != nil {
		return badField("id", err.Error(), "it names the controller, as the key id of its configuration")
	}
	switch r.Change {
	case RemoveController:
		return r.because(false)
	case AddController, MoveController:
	default:
		return badField("change", fmt.Sprintf("is %.40q", r.Change), "want add, remove or move")
	}
	if !dialable(r.Raft) {
		return badField("raft", fmt.Sprintf("is %.80q", r.Raft), "want HOST:PORT, where the others reach its raft port")
	}
	scheme, address, ok := strings.Cut(r.API, "://")
	if !ok || scheme != "http" && scheme != "https" || !dialable(address) {
		return badField("api", "is no URL of a controller", "want http://HOST:PORT or https://HOST:PORT, where the others reach it")
	}
	if r.DataCenter != "" {
		if err := CheckName("dc", r.DataCenter); err != nil {
			return badField("dc", err.Error(), "it names the datacenter, as the key datacenter of its configuration")
		}
	}
	return r.because(false)
}

// dialable reports whether others can dial an address: HOST:PORT, with a number for
// the port, and a host that is not this one's word for all of its addresses.
func dialable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, "/?#@ \t\r\n") {
		return false
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// ControllersChange is a change of the controllers that is under way.
type ControllersChange struct {
	Change string    `json:"change"`
	ID     string    `json:"id"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	// Undoing is why it is being taken back; empty while it is not.
	Undoing string `json:"undoing,omitempty"`
}
