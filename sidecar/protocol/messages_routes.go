package protocol

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"switchyard/router/routes"
)

// The paths of the routes. Applications and questions go to the sidecar beside
// a proxy, the watch to any controller.
const (
	PathApply = "/internal/v1/routes/apply"
	PathRead  = "/internal/v1/routes/read"
	PathWatch = "/internal/v1/routes/watch"
)

// The bounds of the routes' messages, so that one of them fits into MaxMessage.
const (
	// MaxProxies is how many proxies stand beside one sidecar, at most.
	MaxProxies = 32
	// MaxReaders is how many readers a table has at most.
	MaxReaders = routes.MaxReaders
	// MaxWaitMS is the longest that a watch asks a controller to wait.
	MaxWaitMS  = 60_000
	maxProblem = 300
)

// Apply asks a sidecar to make one of its proxies follow a table.
type Apply struct {
	// Controller is the id of the one that asks, and Proxy the name of the proxy in
	// the sidecar's configuration.
	Controller string       `json:"controller"`
	Proxy      string       `json:"proxy"`
	Table      routes.Table `json:"table"`
}

// Read asks a sidecar whether one of its proxies follows a table. Nothing is
// changed by it.
type Read struct {
	Controller string       `json:"controller"`
	Proxy      string       `json:"proxy"`
	Table      routes.Table `json:"table"`
}

// Applied answers both.
type Applied struct {
	// Sidecar is its configured name, and Run the random id of this run of it.
	Sidecar string `json:"sidecar"`
	Run     string `json:"run"`
	Proxy   string `json:"proxy"`
	// Proof is what the proxy was read back to do; it holds only what was asked for.
	Proof routes.Proof `json:"proof"`
	// NotRunning is set where the proxy is proven not to run: it serves nobody, and
	// nobody when it comes back until it is told.
	NotRunning bool `json:"not_running,omitempty"`
	// Older is set where the sidecar holds a newer table than the one in question,
	// or another one of the same revision, and so refused it.
	Older bool `json:"older,omitempty"`
	// Epoch and Revision are of the newest table that the sidecar holds; zero for
	// none.
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	// Digest is of what the proxy really has; empty where that is not known.
	Digest string `json:"digest,omitempty"`
	// Repairs counts, in this run, how often the proxy had left its table by itself
	// and was put back, and Strayed is what it did the last time.
	Repairs int           `json:"repairs,omitempty"`
	Strayed *routes.Proof `json:"strayed,omitempty"`
	// Problem says what is in the way, whether or not the table is followed.
	Problem string `json:"problem,omitempty"`
}

// Watch asks a controller for newer tables, and reports what the proxies do.
type Watch struct {
	Sidecar    string `json:"sidecar"`
	Run        string `json:"run"`
	Datacenter string `json:"datacenter"`
	// Known is what the sidecar holds of each of its clusters.
	Known   []Known  `json:"known"`
	Reports []Report `json:"reports,omitempty"`
	// WaitMS is for how long the controller may wait for something newer.
	WaitMS int `json:"wait_ms"`
}

// Known is the newest table that a sidecar holds of a cluster; a zero epoch
// where it was never told.
type Known struct {
	Cluster  string       `json:"cluster"`
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
}

// Report is what one proxy does.
type Report struct {
	Proxy   string `json:"proxy"`
	Cluster string `json:"cluster"`
	// Epoch and Revision are of the newest table that the proxy was read back to
	// follow, and still does; zero where it follows none.
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	Digest   string       `json:"digest,omitempty"`
	// Sessions counts the connections of clients that are left on a writer that is
	// withdrawn; 0 while there is a writer.
	Sessions int    `json:"sessions"`
	Problem  string `json:"problem,omitempty"`
}

// Tables answers a watch: with the tables that are newer than what is known, or
// with none when the time has passed.
type Tables struct {
	Controller string `json:"controller"`
	// Leader is the controller that leads, as far as this one knows; empty if it
	// knows none.
	Leader string         `json:"leader,omitempty"`
	Tables []routes.Table `json:"tables,omitempty"`
}

// Fit leaves out the last tables of an answer that would be too long: who
// watches again still lacks them, and is answered at once.
func Fit(t Tables) Tables {
	for len(t.Tables) > 1 {
		if _, err := Encode(t); err == nil || !errors.Is(err, errTooLong) {
			return t
		}
		t.Tables = t.Tables[:len(t.Tables)-1]
	}
	return t
}

// Sentence makes any text fit for a Problem: it is cut, and what cannot be
// printed becomes a blank.
func Sentence(text string) string { return cut(text, maxProblem) }

// Detail is Sentence for the longer texts of a proof.
func Detail(text string) string { return cut(text, maxDetail) }

func cut(text string, longest int) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	for i := range text {
		if i > longest-len("…")-4 {
			return text[:i] + "…"
		}
	}
	return text
}

func (a Apply) check() error {
	return errors.Join(text("controller", a.Controller, maxName, false), text("proxy", a.Proxy, maxName, false),
		checkTable(a.Table))
}

func (r Read) check() error { return Apply(r).check() }

func (a Applied) check() error {
	err := errors.Join(text("sidecar", a.Sidecar, maxName, false), text("run", a.Run, maxName, false),
		text("proxy", a.Proxy, maxName, false), checkProof(a.Proof),
		text("digest", a.Digest, maxName, true), text("problem", a.Problem, maxProblem, true))
	switch {
	case a.NotRunning && a.Proof.Holds:
		err = errors.Join(err, errors.New("both not_running and a proof that it holds the table"))
	case a.Older && a.Proof.Holds:
		err = errors.Join(err, errors.New("both older and a proof that it holds the table"))
	}
	err = errors.Join(err, within("repairs", a.Repairs, 0, maxCount))
	switch s := a.Strayed; {
	case (s != nil) != (a.Repairs > 0):
		err = errors.Join(err, fmt.Errorf("repairs is %d, and what had strayed is given: %t", a.Repairs, s != nil))
	case s != nil && s.Holds && s.ReadersHold():
		err = errors.Join(err, errors.New("strayed holds the table"))
	case s != nil:
		err = errors.Join(err, checkProof(*s))
	}
	return err
}

func (w Watch) check() error {
	err := errors.Join(text("sidecar", w.Sidecar, maxName, false), text("run", w.Run, maxName, false),
		text("datacenter", w.Datacenter, maxName, false), within("wait_ms", w.WaitMS, 0, MaxWaitMS),
		within("the number of known", len(w.Known), 1, MaxProxies),
		within("the number of reports", len(w.Reports), 0, MaxProxies))
	if err != nil {
		return err
	}
	clusters := map[string]bool{}
	for _, k := range w.Known {
		err = errors.Join(err, text("known.cluster", k.Cluster, maxName, false), once(clusters, "known.cluster", k.Cluster))
	}
	proxies := map[string]bool{}
	for _, r := range w.Reports {
		err = errors.Join(err, text("reports.proxy", r.Proxy, maxName, false), once(proxies, "reports.proxy", r.Proxy),
			text("reports.cluster", r.Cluster, maxName, false), text("reports.digest", r.Digest, maxName, true),
			within("reports.sessions", r.Sessions, 0, maxCount), text("reports.problem", r.Problem, maxProblem, true))
	}
	return err
}

func (t Tables) check() error {
	err := errors.Join(text("controller", t.Controller, maxName, false), text("leader", t.Leader, maxName, true),
		within("the number of tables", len(t.Tables), 0, MaxProxies))
	if err != nil {
		return err
	}
	clusters := map[string]bool{}
	for _, table := range t.Tables {
		err = errors.Join(err, checkTable(table), once(clusters, "table.cluster", table.Cluster))
	}
	return err
}

// maxCount bounds what is counted.
const maxCount = 1 << 30

func once(seen map[string]bool, field, value string) error {
	if seen[value] {
		return fmt.Errorf("%s names %q twice", field, value)
	}
	seen[value] = true
	return nil
}

func checkTable(t routes.Table) error {
	err := errors.Join(t.Validate(), text("table.cluster", t.Cluster, maxName, false),
		within("the number of table.readers", len(t.Readers), 0, MaxReaders))
	if err != nil {
		return err
	}
	if t.Writer != nil {
		err = checkServer("table.writer", *t.Writer)
	}
	for _, r := range t.Readers {
		err = errors.Join(err, checkServer("table.readers", r.Server),
			text("table.readers.datacenter", r.Datacenter, maxName, true), within("table.readers.weight", r.Weight, 1, maxCount))
	}
	return err
}

func checkServer(field string, s routes.Server) error {
	if s.Port == 0 {
		return fmt.Errorf("%s.port is 0", field)
	}
	return text(field+".host", s.Host, 255, false)
}

func checkProof(p routes.Proof) error {
	var err error
	if r := p.Readers; r != nil {
		err = errors.Join(within("the number of proof.readers.serving", len(r.Serving), 0, MaxReaders),
			within("proof.readers.sessions", r.Sessions, 0, maxCount), within("proof.readers.left", r.Left, 0, maxCount),
			text("proof.readers.problem", r.Problem, maxDetail, true))
		for _, at := range r.Serving {
			err = errors.Join(err, text("proof.readers.serving", at, 300, false))
		}
	}
	return errors.Join(err, text("proof.host", p.Host, 300, true), within("proof.sessions", p.Sessions, 0, maxCount),
		text("proof.warning", p.Warning, maxDetail, true))
}
