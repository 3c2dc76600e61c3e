package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"switchyard/store/quorum"
)

const (
	// maxFormer is how many controllers are remembered that were removed.
	maxFormer = 50
	// maxControllers is how many there may be, as in the configuration files: all of
	// them are named in each greeting, and in each database sidecar's file.
	maxControllers = 9
)

// Controller is one of the controllers, as the others reach it. Its ID is its
// own for ever; its addresses may change.
type Controller struct {
	ID string `json:"id"`
	// Raft is HOST:PORT, API a URL.
	Raft       string `json:"raft"`
	API        string `json:"api"`
	DataCenter string `json:"data_center,omitempty"`
	// Voter is whether it counts for a majority.
	Voter bool `json:"voter"`
}

// Controllers are the controllers by the ledger. Number 0 is for none written
// yet: then those count that every configuration file names.
type Controllers struct {
	// Number grows with each step of a change.
	Number uint64 `json:"number"`
	// Members are in order of their ids.
	Members []Controller `json:"members"`
	// Change is the one under way, if any.
	Change *ControllerChange `json:"change,omitempty"`
	// Former were removed, the latest last.
	Former []FormerController `json:"former,omitempty"`
}

// ChangeKind is what becomes of a controller.
type ChangeKind string

// The kinds of a change.
const (
	AddController    ChangeKind = "add"
	RemoveController ChangeKind = "remove"
	MoveController   ChangeKind = "move"
)

// ControllerChange is a change under way. It is carried on by whoever leads.
type ControllerChange struct {
	Kind ChangeKind `json:"kind"`
	ID   string     `json:"id"`
	// Voter is whether the one that is added is to vote in the end.
	Voter bool `json:"voter,omitempty"`
	// New is set where the one that is added was no controller before.
	New   bool      `json:"new,omitempty"`
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// Until is when it is given up, where it can be.
	Until time.Time `json:"until"`
	// Undoing is why it is being taken back; empty while it is not.
	Undoing string `json:"undoing,omitempty"`
}

// FormerController was removed.
type FormerController struct {
	ID string    `json:"id"`
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Find returns a controller by its id.
func (c Controllers) Find(id string) (Controller, bool) {
	i := slices.IndexFunc(c.Members, func(m Controller) bool { return m.ID == id })
	if i < 0 {
		return Controller{}, false
	}
	return c.Members[i], true
}

// Removed returns how a controller was removed.
func (c Controllers) Removed(id string) (FormerController, bool) {
	i := slices.IndexFunc(c.Former, func(f FormerController) bool { return f.ID == id })
	if i < 0 {
		return FormerController{}, false
	}
	return c.Former[i], true
}

// Voters are the ids of those that vote.
func (c Controllers) Voters() []string {
	var out []string
	for _, m := range c.Members {
		if m.Voter {
			out = append(out, m.ID)
		}
	}
	return out
}

// Councils are whose majorities a decision needs: the voters, and while one of
// them comes or goes also the voters without it. So whoever counts by the set
// before the change and whoever counts by the one after it need one in common.
func (c Controllers) Councils() quorum.Councils {
	voters := c.Voters()
	out := quorum.Councils{voters}
	if c.Change == nil || c.Change.Kind == MoveController || !slices.Contains(voters, c.Change.ID) {
		return out
	}
	rest := slices.DeleteFunc(slices.Clone(voters), func(id string) bool { return id == c.Change.ID })
	if len(rest) == 0 {
		return out
	}
	return append(out, rest)
}

// clone is a copy that shares nothing that is changed.
func (c Controllers) clone() Controllers {
	c.Members, c.Former = slices.Clone(c.Members), slices.Clone(c.Former)
	if c.Change != nil {
		change := *c.Change
		c.Change = &change
	}
	return c
}

// beginControllerChange opens a change.
func (d *draft) beginControllerChange(c BeginControllerChange) string {
	reason := firstOf(badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At), badUntil(c.Until, c.At))
	if reason != "" {
		return reason
	}
	known := d.state.Controllers.clone()
	if known.Number == 0 {
		if reason := badFounders(c.Founders); reason != "" {
			return reason
		}
		known.Members = sortedByID(c.Founders)
	}
	if c.Expect != known.Number {
		return fmt.Sprintf("the controllers are those of set %d now, not of %d: look again", known.Number, c.Expect)
	}
	if open := known.Change; open != nil {
		return fmt.Sprintf("to %s controller %s is under way: one change at a time", open.Kind, open.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(d.state.Recoveries)) {
		if d.state.Recoveries[id].Open() {
			return fmt.Sprintf("recovery %s has not ended", id)
		}
	}
	if reason := known.begin(c); reason != "" {
		return reason
	}
	known.Number++
	d.putControllers(known)
	d.audit(AuditEntry{At: c.At, Kind: AuditOperator, Action: string(c.Change) + "-controller", By: c.By, Reason: c.Reason,
		Evidence: []string{fmt.Sprintf("set %d: %s", known.Number, known.sentence())}})
	return ""
}

// begin makes the first step of a change, or says why there is none.
func (c *Controllers) begin(b BeginControllerChange) string {
	at := slices.IndexFunc(c.Members, func(m Controller) bool { return m.ID == b.Controller.ID })
	next := ControllerChange{Kind: b.Change, ID: b.Controller.ID, Voter: b.Controller.Voter, By: b.By,
		Since: instant(b.At), Until: instant(b.Until)}
	var reason string
	switch b.Change {
	case AddController:
		next.New = at < 0
		reason = c.beginAdd(at, b.Controller)
	case RemoveController:
		next.Voter = false
		reason = c.beginRemove(at, b.Controller.ID)
	case MoveController:
		next.Voter = false
		reason = c.beginMove(at, b.Controller)
	default:
		return fmt.Sprintf("change %q: want add, remove or move", cut(string(b.Change), maxName))
	}
	if reason == "" {
		c.Change = &next
	}
	return reason
}

// beginAdd takes a new controller in without a vote: it must have caught up first.
func (c *Controllers) beginAdd(at int, new Controller) string {
	if at < 0 {
		voter := new
		voter.Voter = false
		if reason := firstOf(badController(new), c.taken(new)); reason != "" {
			return reason
		}
		if len(c.Members) >= maxControllers {
			return fmt.Sprintf("there are %d controllers, and no more may be: remove one first", len(c.Members))
		}
		c.Members = sortedByID(append(c.Members, voter))
		return ""
	}
	known := c.Members[at]
	switch {
	case known.Raft != new.Raft || known.API != new.API:
		return fmt.Sprintf("there is a controller %s already, at %s and %s: an id is used once; "+
			"to give it other addresses, move it", new.ID, known.Raft, known.API)
	case known.Voter && !new.Voter:
		return fmt.Sprintf("controller %s votes: remove it, and then add it without a vote", new.ID)
	case known.Voter == new.Voter:
		return fmt.Sprintf("there is a controller %s already", new.ID)
	}
	return ""
}

func (c *Controllers) beginRemove(at int, id string) string {
	switch voters := c.Voters(); {
	case at < 0:
		return fmt.Sprintf("there is no controller %s", id)
	case len(voters) == 1 && voters[0] == id:
		return fmt.Sprintf("controller %s is the only one that votes", id)
	}
	return ""
}

func (c *Controllers) beginMove(at int, to Controller) string {
	if at < 0 {
		return fmt.Sprintf("there is no controller %s", to.ID)
	}
	known := c.Members[at]
	to.Voter, to.DataCenter = known.Voter, cmp.Or(to.DataCenter, known.DataCenter)
	if to == known {
		return fmt.Sprintf("controller %s is at these addresses already", to.ID)
	}
	if reason := firstOf(badController(to), c.taken(to)); reason != "" {
		return reason
	}
	c.Members[at] = to
	return ""
}

// taken says that another controller has one of the addresses.
func (c *Controllers) taken(new Controller) string {
	for _, m := range c.Members {
		switch {
		case m.ID == new.ID:
		case m.Raft == new.Raft:
			return fmt.Sprintf("controller %s is at the raft address %s", m.ID, m.Raft)
		case m.API == new.API:
			return fmt.Sprintf("controller %s is at the http address %s", m.ID, m.API)
		}
	}
	return ""
}

// advanceControllers makes the next step of the open change. Which step is right
// depends on what raft counts; whether it is allowed at all is said here.
func (d *draft) advanceControllers(c AdvanceControllers) string {
	reason := firstOf(badName("leader", c.Leader), tooLong("note", c.Note), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	known := d.state.Controllers.clone()
	if c.Expect != known.Number || known.Change == nil {
		return fmt.Sprintf("there is no change of set %d under way", c.Expect)
	}
	change := *known.Change
	if reason := known.advance(c); reason != "" {
		return reason
	}
	known.Number++
	d.putControllers(known)
	entry := AuditEntry{At: c.At, Kind: AuditOperator, Action: string(change.Kind) + "-controller", By: change.By, Reason: c.Note,
		Outcome:  map[ControllersStep]string{WidenControllers: "going on", UndoControllers: "being taken back", CloseControllers: "done"}[c.Step],
		Evidence: []string{fmt.Sprintf("set %d: %s", known.Number, known.sentence()), "carried on by " + c.Leader}}
	if c.Step == CloseControllers && change.Undoing != "" {
		entry.Outcome = "taken back: " + change.Undoing
	}
	d.audit(entry)
	return ""
}

func (c *Controllers) advance(step AdvanceControllers) string {
	open := c.Change
	at := slices.IndexFunc(c.Members, func(m Controller) bool { return m.ID == open.ID })
	if at < 0 {
		return fmt.Sprintf("controller %s is not there", open.ID)
	}
	member := &c.Members[at]
	switch step.Step {
	case WidenControllers:
		if open.Kind != AddController || !open.Voter || member.Voter || open.Undoing != "" {
			return "nobody waits for a vote"
		}
		member.Voter = true
	case UndoControllers:
		switch {
		case open.Undoing != "":
			return "it is being taken back already"
		case step.Note == "":
			return "note is empty: say why it is taken back"
		case open.Kind == AddController && member.Voter, open.Kind == MoveController:
			return "it cannot be taken back any more"
		}
		open.Undoing = step.Note
	case CloseControllers:
		return c.close(at, step.At)
	default:
		return fmt.Sprintf("step %q: want widen, undo or close", cut(string(step.Step), maxName))
	}
	return ""
}

func (c *Controllers) close(at int, when time.Time) string {
	open, member := *c.Change, c.Members[at]
	gone := false
	switch {
	case open.Kind == AddController && open.Undoing != "":
		gone = open.New
	case open.Kind == AddController && member.Voter != open.Voter:
		return fmt.Sprintf("controller %s does not vote yet", open.ID)
	case open.Kind == AddController:
		c.Former = slices.DeleteFunc(c.Former, func(f FormerController) bool { return f.ID == open.ID })
	case open.Kind == RemoveController && open.Undoing == "":
		gone = true
		c.Former = append(c.Former, FormerController{ID: open.ID, By: open.By, At: instant(when)})
		c.Former = c.Former[max(0, len(c.Former)-maxFormer):]
	}
	if gone {
		c.Members = slices.Delete(c.Members, at, at+1)
	}
	if len(c.Former) == 0 {
		c.Former = nil // As it is where nobody was ever removed.
	}
	c.Change = nil
	return ""
}

func (d *draft) putControllers(c Controllers) {
	d.state.Controllers = c
	d.noteHeader()
}

// sentence names the controllers.
func (c Controllers) sentence() string {
	var out []string
	for _, m := range c.Members {
		name := m.ID + " at " + m.Raft
		if !m.Voter {
			name += " (no vote)"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func badFounders(all []Controller) string {
	if len(all) == 0 {
		return "founders is empty: the ledger has no controllers yet"
	}
	var c Controllers
	voter := false
	for _, m := range all {
		if reason := firstOf(badController(m), c.taken(m)); reason != "" {
			return reason
		}
		if _, twice := c.Find(m.ID); twice {
			return fmt.Sprintf("founders: %s is there twice", m.ID)
		}
		c.Members, voter = append(c.Members, m), voter || m.Voter
	}
	if !voter {
		return "founders: nobody votes"
	}
	return ""
}

func badController(c Controller) string {
	if reason := firstOf(badName("id", c.ID), badName("raft", c.Raft), badName("api", c.API)); reason != "" {
		return reason
	}
	if host, port, err := net.SplitHostPort(c.Raft); err != nil || host == "" || port == "" {
		return fmt.Sprintf("raft %q: want HOST:PORT", c.Raft)
	}
	scheme, address, ok := strings.Cut(c.API, "://")
	if _, _, err := net.SplitHostPort(address); !ok || scheme != "http" && scheme != "https" || err != nil {
		return fmt.Sprintf("api %q: want http://HOST:PORT or https://HOST:PORT", c.API)
	}
	if len(c.DataCenter) > maxName {
		return fmt.Sprintf("data_center has %d bytes, at most %d are allowed", len(c.DataCenter), maxName)
	}
	return ""
}

func sortedByID(all []Controller) []Controller {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Controller) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
