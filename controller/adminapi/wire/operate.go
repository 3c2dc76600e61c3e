package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// MaxReason is the longest reason or comment that the door takes, in bytes.
const MaxReason = 1000

// MaxDuration is the longest time that something can be asked for.
const MaxDuration = Duration(366 * 24 * time.Hour)

// Duration is a length of time as a person writes it: 90s, 2h30m, 3d, 2w.
type Duration time.Duration

// ParseDuration reads what time.ParseDuration reads, and whole days and weeks.
func ParseDuration(text string) (Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		digits, ok := strings.CutSuffix(text, suffix)
		if n, err := strconv.ParseUint(digits, 10, 16); ok && err == nil {
			return Duration(time.Duration(n) * unit), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a length of time: want one such as 90s, 2h30m, 3d or 2w", text)
	}
	return Duration(d), nil
}

// String writes whole days as days.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := time.Duration(d).String()
	// 2h0m0s says no more than 2h.
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText writes what ParseDuration reads, or nothing for none.
func (d Duration) MarshalText() ([]byte, error) {
	if d == 0 {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Asker is who asks for something, and why, for the record.
type Asker struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// DowntimeRequest is the body of POST /api/v1/begin-downtime.
type DowntimeRequest struct {
	Server   topology.Key `json:"server"`
	Duration Duration     `json:"duration"`
	// Owner is whose downtime it is; empty for who asks.
	Owner string `json:"owner,omitempty"`
	Asker
}

// ServerRequest is the body of what is asked about one server and needs no
// reason: POST /api/v1/end-downtime, /api/v1/recover and /api/v1/reattach.
type ServerRequest struct {
	Server topology.Key `json:"server"`
	Asker
}

// DetachRequest is the body of POST /api/v1/detach.
type DetachRequest ServerRequest

// MoveRequest is the body of POST /api/v1/move.
type MoveRequest struct {
	Server topology.Key `json:"server"`
	// Below is whom it is to replicate from.
	Below topology.Key `json:"below"`
	Asker
}

// ReadOnlyRequest is the body of POST /api/v1/set-read-only.
type ReadOnlyRequest struct {
	Server topology.Key `json:"server"`
	// ReadOnly is what it is to be; it must be given.
	ReadOnly *bool `json:"read_only"`
	Asker
}

// RuleRequest is the body of POST /api/v1/promotion-rule. Either Rule is
// given, or Clear takes back what was.
type RuleRequest struct {
	Server topology.Key `json:"server"`
	Rule   string       `json:"rule,omitempty"`
	Clear  bool         `json:"clear,omitempty"`
	// For is how long the rule counts; nothing is until it is taken back.
	For Duration `json:"for,omitzero"`
	Asker
}

// PauseRequest is the body of POST /api/v1/pause. An empty cluster is all of
// them.
type PauseRequest struct {
	Cluster string `json:"cluster,omitempty"`
	Asker
}

// ResumeRequest is the body of POST /api/v1/resume.
type ResumeRequest PauseRequest

// AckRequest is the body of POST /api/v1/ack: one recovery, or all of a
// cluster that have ended and that nobody has acknowledged.
type AckRequest struct {
	Recovery string `json:"recovery,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	Comment  string `json:"comment"`
	By       string `json:"by,omitempty"`
}

// FailoverRequest is the body of POST /api/v1/failover.
type FailoverRequest struct {
	Cluster string `json:"cluster"`
	// To is the new master; empty leaves the choice to the ranking.
	To topology.Key `json:"to,omitzero"`
	// Force goes on in spite of every doubt. Without it nothing is done, and the
	// answer explains.
	Force bool `json:"force"`
	Asker
}

// Done is the answer to a request that changed something other than a
// cluster's master, or found it as it was to be.
type Done struct {
	// Action is the last part of the request's path.
	Action  string       `json:"action"`
	Cluster string       `json:"cluster,omitempty"`
	Server  topology.Key `json:"server,omitzero"`
	By      string       `json:"by"`
	// Changed is false where everything was as asked already.
	Changed bool `json:"changed"`
	// Until is when what was done ends by itself; zero where it does not.
	Until time.Time `json:"until,omitzero"`
	// Recoveries are those acknowledged.
	Recoveries []string `json:"recoveries,omitempty"`
	// Sentence says what was done.
	Sentence string `json:"sentence"`
}

// Check says what is wrong with r.
func (r DowntimeRequest) Check() *Error {
	if r.Reason == ledger.LostInRecovery {
		return badField("reason", fmt.Sprintf("%q is what a recovery writes, and such a downtime ends by itself", r.Reason),
			"say it in your own words")
	}
	return first(checkServer("server", r.Server), checkDuration("duration", r.Duration),
		checkText("owner", r.Owner, MaxName), r.because(true))
}

// Check says what is wrong with r.
func (r ServerRequest) Check() *Error {
	return first(checkServer("server", r.Server), r.because(false))
}

// Check says what is wrong with r.
func (r DetachRequest) Check() *Error { return first(checkServer("server", r.Server), r.because(true)) }

// Check says what is wrong with r.
func (r MoveRequest) Check() *Error {
	return first(checkServer("server", r.Server), checkServer("below", r.Below), r.because(false))
}

// Check says what is wrong with r.
func (r ReadOnlyRequest) Check() *Error {
	if err := first(checkServer("server", r.Server), checkText("by", r.By, MaxName)); err != nil {
		return err
	}
	if r.ReadOnly == nil {
		return badField("read_only", "is missing", "say true or false")
	}
	return r.because(true)
}

// Check says what is wrong with r.
func (r RuleRequest) Check() *Error {
	if err := checkServer("server", r.Server); err != nil {
		return err
	}
	switch {
	case r.Clear && (r.Rule != "" || r.For != 0):
		return badField("clear", "goes with neither rule nor for", "leave clear away, or the others")
	case r.Clear:
		return r.because(false)
	}
	if _, err := policy.ParseRule(r.Rule); err != nil {
		return badField("rule", err.Error(), "or clear to take it back")
	}
	if r.For != 0 {
		if err := checkDuration("for", r.For); err != nil {
			return err
		}
	}
	return r.because(false)
}

// Check says what is wrong with r.
func (r PauseRequest) Check() *Error { return first(checkCluster(r.Cluster, true), r.because(true)) }

// Check says what is wrong with r.
func (r ResumeRequest) Check() *Error { return first(checkCluster(r.Cluster, true), r.because(false)) }

// Check says what is wrong with r.
func (r AckRequest) Check() *Error {
	switch {
	case r.Recovery == "" && r.Cluster == "":
		return badField("recovery", "is missing", "name a recovery, or a cluster for all of its recoveries")
	case r.Recovery != "" && r.Cluster != "":
		return badField("cluster", "is given beside a recovery", "name one of them")
	case r.Recovery != "":
		if err := CheckName("recovery", r.Recovery); err != nil {
			return badField("recovery", err.Error(), "see `switchyard recoveries`")
		}
	}
	if r.Comment == "" {
		return badField("comment", "is missing", "say what came of the recovery: whoever looks later has only this")
	}
	return first(checkCluster(r.Cluster, true), checkText("comment", r.Comment, MaxReason), checkText("by", r.By, MaxName))
}

// Check says what is wrong with r.
func (r FailoverRequest) Check() *Error {
	return first(checkCluster(r.Cluster, false), r.because(r.Force))
}

// because checks who asks, and the reason where there must be one.
func (a Asker) because(needed bool) *Error {
	err := first(checkText("by", a.By, MaxName), checkText("reason", a.Reason, MaxReason))
	if err == nil && needed && a.Reason == "" {
		return badField("reason", "is missing", "say why: it goes to the audit")
	}
	return err
}

func badField(name, text, remedy string) *Error {
	return NewError(BadRequest, fmt.Sprintf("field %q: %s", name, text), remedy)
}

func first(errs ...*Error) *Error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkServer(name string, k topology.Key) *Error {
	if k.IsZero() {
		return badField(name, "is missing", "name a server as HOST:PORT")
	}
	return nil
}

func checkCluster(name string, optional bool) *Error {
	if name == "" && optional {
		return nil
	}
	if err := CheckName("cluster", name); err != nil {
		return badField("cluster", err.Error(), "see `switchyard clusters`")
	}
	return nil
}

func checkDuration(name string, d Duration) *Error {
	switch {
	case d == 0:
		return badField(name, "is missing", "say how long, as in 2h30m, 3d or 2w")
	case d < Duration(time.Second) || d > MaxDuration:
		return badField(name, fmt.Sprintf("%s: want 1s to %s", d, MaxDuration), "ask again when it has run out")
	}
	return nil
}

func checkText(name, text string, most int) *Error {
	if len(text) > most {
		return badField(name, fmt.Sprintf("has %d bytes: want at most %d", len(text), most), "say it shorter")
	}
	return nil
}
