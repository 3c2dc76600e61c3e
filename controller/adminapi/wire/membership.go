package wire

import (
	"fmt"
	"net"
	"net/url"
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
	DataCenter string `json:"data_center,omitempty"`
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
	if host, port, err := net.SplitHostPort(r.Raft); err != nil || host == "" || port == "" {
		return badField("raft", fmt.Sprintf("is %.80q", r.Raft), "want HOST:PORT, where the others reach its raft port")
	}
	u, err := url.Parse(r.API)
	if err != nil || u.Port() == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" {
		return badField("api", "is no URL of a controller", "want http://HOST:PORT or https://HOST:PORT, where the others reach it")
	}
	return first(checkText("data_center", r.DataCenter, MaxName), r.because(false))
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
