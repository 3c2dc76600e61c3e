package protocol

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// The bounds of what is read.
const (
	maxName   = 100
	maxDetail = 1000
	maxVoters = 100
	// maxMS is an hour, and day the oldest report.
	maxMS = 3_600_000
	day   = 24 * maxMS
)

// text checks a name, which is shown and logged.
func text(field, value string, longest int, optional bool) error {
	switch {
	case value == "" && optional:
		return nil
	case value == "":
		return fmt.Errorf("%s is missing", field)
	case len(value) > longest:
		return fmt.Errorf("%s has %d bytes, want at most %d", field, len(value), longest)
	case !utf8.ValidString(value):
		return fmt.Errorf("%s is not UTF-8", field)
	}
	for _, r := range value {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s has the character %q, which cannot be printed", field, r)
		}
	}
	return nil
}

func hostPort(field, value string) error {
	if err := text(field, value, 300, false); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT: %w", field, value, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 {
		return fmt.Errorf("%s %q: want HOST:PORT", field, value)
	}
	return nil
}

func within(field string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s is %d, want %d to %d", field, value, low, high)
	}
	return nil
}

func oneOf[T ~string](field string, value T, known ...T) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("%s is %.40q, want one of %q", field, string(value), known)
	}
	return nil
}

func (w Who) check() error {
	return errors.Join(
		text("sidecar", w.Sidecar, maxName, false), text("run", w.Run, maxName, false),
		text("boot", w.Boot, maxName, false), text("cluster", w.Cluster, maxName, false),
		hostPort("server", w.Server), text("uuid", w.UUID, maxName, true))
}

func (r Renew) check() error {
	return errors.Join(r.Who.check(),
		oneOf("state", r.State, Silent, Writable, ReadOnly, Starting, Gone),
		oneOf("holding", r.Holding, Unleased, Held, Fenced),
		within("fence_ms", r.FenceMS, 1, maxMS),
		voters("controllers", r.Controllers), voters("peers", r.Peers))
}

// voters checks the names of those by whose majority something is decided.
func voters(field string, names []string) error {
	if len(names) > maxVoters {
		return fmt.Errorf("%s has %d names, want at most %d", field, len(names), maxVoters)
	}
	for i, name := range names {
		if err := text(fmt.Sprintf("%s[%d]", field, i), name, maxName, false); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s has %q twice", field, name)
		}
	}
	return nil
}

func (r RenewReply) check() error {
	err := errors.Join(text("controller", r.Controller, maxName, false), text("run", r.Run, maxName, false),
		text("leader", r.Leader, maxName, true), text("detail", r.Detail, maxDetail, true))
	if r.Refusal == "" {
		if r.Epoch.IsZero() {
			err = errors.Join(err, errors.New("a grant without an epoch"))
		}
		return errors.Join(err, within("grant_ms", r.GrantMS, 1, maxMS))
	}
	if r.GrantMS != 0 {
		err = errors.Join(err, errors.New("both a grant and a refusal"))
	}
	if r.Refusal == Deposed && r.Epoch.IsZero() {
		err = errors.Join(err, errors.New("deposed, and no epoch in which"))
	}
	return errors.Join(err, oneOf("refusal", r.Refusal, Deposed, Standby, Unknown, NotReady, Conflict))
}

func (e Exit) check() error {
	highest := 0
	switch e.Kind {
	case Failed:
		highest = 255
	case Killed:
		highest = 64
	}
	lowest := min(highest, 1)
	return errors.Join(e.Who.check(), oneOf("kind", e.Kind, Clean, Failed, Killed, Vanished),
		within("status", e.Status, lowest, highest), within("pid", e.PID, 1, 1<<22), within("ago_ms", e.AgoMS, 0, day))
}

func (e ExitNoted) check() error { return text("controller", e.Controller, maxName, false) }

func (f Follow) check() error {
	if f.Epoch.IsZero() {
		return errors.Join(f.Who.check(), errors.New("epoch is missing: who was never granted a lease has none to keep"))
	}
	return f.Who.check()
}

func (f FollowReply) check() error {
	err := f.Who.check()
	switch {
	case f.Follows && f.No != "":
		err = errors.Join(err, errors.New("both follows and a reason why not"))
	case !f.Follows:
		err = errors.Join(err, oneOf("no", f.No, Parted, NewerEpoch, NotReceiving, Elsewhere))
	}
	return err
}

func (p Part) check() error {
	err := errors.Join(text("controller", p.Controller, maxName, false), text("cluster", p.Cluster, maxName, false),
		hostPort("server", p.Server))
	if p.Epoch.IsZero() {
		err = errors.Join(err, errors.New("epoch is missing"))
	}
	return err
}

func (p PartReply) check() error {
	if p.Epoch.IsZero() {
		return errors.Join(p.Who.check(), errors.New("epoch is missing"))
	}
	return p.Who.check()
}
