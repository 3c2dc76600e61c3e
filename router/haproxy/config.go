package haproxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// WriterConfig is what the configuration of a cluster's writer entrance is
// made from.
type WriterConfig struct {
	Cluster string
	// Bind is where applications connect, "IP:PORT" or "*:PORT".
	Bind string
	// Runtime is where the runtime API listens.
	Runtime Target
	Backend Backend
	// MaxConn bounds the connections; 0 for DefaultMaxConn.
	MaxConn int
	// Hold is for how long a new connection waits while there is no master; 0 to
	// close it at once. Lua is where HAProxy finds HoldScript then.
	Hold time.Duration
	Lua  string
	// Readers is the entrance of the cluster's readers; nil for none.
	Readers *ReaderEntrance
}

// ReaderEntrance is where applications connect to read.
type ReaderEntrance struct {
	Readers
	// Bind is "IP:PORT" or "*:PORT".
	Bind string
	// MaxConn bounds the connections; 0 for DefaultReaderMaxConn.
	MaxConn int
}

// DefaultReaderMaxConn is how many connections readers may have unless told: what
// the hard limit that DefaultMaxConn is made for leaves.
const DefaultReaderMaxConn = 800

// DefaultMaxConn is how many connections an entrance takes unless told. Each
// needs two file descriptors, and HAProxy does not start where the limit of its
// user forbids them; this one fits in a hard limit of 10000.
const DefaultMaxConn = 4000

// runtimeMaxConn is the room that connections of applications cannot take from
// the runtime API.
const runtimeMaxConn = 100

// maxMaxConn keeps a slip of the finger from reserving the machine's memory.
const maxMaxConn = 1_000_000

// Validate names the first setting that cannot be used, and the remedy.
func (c WriterConfig) Validate() error {
	if c.MaxConn < 0 || c.MaxConn > maxMaxConn {
		return fmt.Errorf("haproxy: maxconn %d: want a number from 1 to %d", c.MaxConn, maxMaxConn)
	}
	return errors.Join(checkName("cluster", c.Cluster), c.Backend.Validate(), checkBind(c.Bind), c.checkRuntime(), c.checkHold(),
		c.checkReaders())
}

func (c WriterConfig) checkReaders() error {
	r := c.Readers
	switch {
	case r == nil:
		return nil
	case r.Backend == c.Backend.Backend:
		return fmt.Errorf("haproxy: readers.backend %s is the writer's: give the readers one of their own", r.Backend)
	case r.Bind == c.Bind:
		return fmt.Errorf("haproxy: readers.bind %s is the writer's: give the readers one of their own", r.Bind)
	case r.MaxConn < 0 || r.MaxConn > maxMaxConn:
		return fmt.Errorf("haproxy: readers.maxconn %d: want a number from 1 to %d", r.MaxConn, maxMaxConn)
	}
	return errors.Join(r.Validate(), checkBind(r.Bind))
}

func checkBind(bind string) error {
	given := bind
	if port, everywhere := strings.CutPrefix(bind, "*:"); everywhere {
		bind = "0.0.0.0:" + port
	}
	if at, err := netip.ParseAddrPort(bind); err != nil || at.Port() == 0 || at.Addr().Zone() != "" {
		return fmt.Errorf("haproxy: bind %q: want IP:PORT or *:PORT, with a port from 1 to 65535", given)
	}
	return nil
}

// checkRuntime holds the runtime API, which asks nobody for a password, to
// where only the neighbourhood can reach it.
func (c WriterConfig) checkRuntime() error {
	if _, err := ParseTarget(c.Runtime.String()); err != nil {
		return err
	}
	if c.Runtime.Network != "tcp" {
		return nil
	}
	at, err := netip.ParseAddrPort(c.Runtime.Address)
	if err != nil || at.Addr().Zone() != "" {
		return fmt.Errorf("haproxy: runtime API %s: want an IP address to listen on", c.Runtime)
	}
	if addr := at.Addr().Unmap(); !addr.IsLoopback() && !addr.IsPrivate() {
		return fmt.Errorf("haproxy: runtime API %s: it asks for no password; use an address of loopback or of a private network",
			c.Runtime)
	}
	return nil
}

// Section is one section of a configuration file, as data.
type Section struct {
	// Kind and Name are its heading; From is the defaults section that it uses.
	Kind, Name, From string
	Lines            []Line
}

// Line is one directive, and why it is there.
type Line struct {
	Text string
	Why  []string
}

// Frontend is the name of the section that applications connect to.
func (c WriterConfig) Frontend() string { return c.Backend.Backend + ".in" }

// nowhere is an address of the range reserved for documentation: enabled by
// hand before it was told where to lead, the slot leads to nobody.
const nowhere = "192.0.2.1:3306"

const defaultsName = "mysql"

// Sections returns the whole configuration of a writer entrance.
func (c WriterConfig) Sections() ([]Section, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.MaxConn == 0 {
		c.MaxConn = DefaultMaxConn
	}
	return append([]Section{
		c.global(),
		{Kind: "defaults", Name: defaultsName, Lines: defaultsLines()},
		{Kind: "frontend", Name: c.Frontend(), From: defaultsName, Lines: slices.Concat([]Line{
			{Text: "bind " + c.Bind, Why: []string{"Applications connect here to write to cluster " + c.Cluster + "."}},
			{Text: fmt.Sprintf("maxconn %d", c.MaxConn)},
		}, c.holdLines(c.Backend.Backend, "no master"), []Line{{Text: "default_backend " + c.Backend.Backend}})},
		{Kind: "backend", Name: c.Backend.Backend, From: defaultsName, Lines: []Line{{
			Text: "server " + c.Backend.Server + " " + nowhere + " disabled on-marked-down shutdown-sessions",
			Why: []string{
				"Switchyard moves this one slot from master to master. It starts disabled and leads",
				"nowhere: a proxy that was not yet told serves nobody, and it is told within 2 s.",
				"No health check: who is master is decided by the controllers together, and a check",
				"here would be a second opinion that cuts healthy connections.",
			},
		}}},
	}, c.readerSections()...), nil
}

// readerSections are the entrance of the readers.
func (c WriterConfig) readerSections() []Section {
	r := c.Readers
	if r == nil {
		return nil
	}
	lines := []Line{
		{Text: "balance leastconn"},
		{Text: "option redispatch 1", Why: []string{
			"A replica that refuses connections is passed over at once, until the controllers have",
			"seen it, too.",
		}},
		{Text: "retries 3"},
	}
	for n := range r.Slots {
		line := Line{Text: "server " + r.Slot(n).Server + " " + nowhere + " disabled on-marked-down shutdown-sessions"}
		if n == 0 {
			line.Why = []string{
				"Switchyard gives each replica that is fit one of these slots. They start disabled and",
				"lead nowhere; what is not needed stays so.",
			}
		}
		lines = append(lines, line)
	}
	return []Section{
		{Kind: "frontend", Name: r.Backend + ".in", From: defaultsName, Lines: slices.Concat([]Line{
			{Text: "bind " + r.Bind, Why: []string{"Applications connect here to read from cluster " + c.Cluster + "."}},
			{Text: fmt.Sprintf("maxconn %d", r.maxConn())},
		}, c.holdLines(r.Backend, "no reader"), []Line{{Text: "default_backend " + r.Backend}})},
		{Kind: "backend", Name: r.Backend, From: defaultsName, Lines: lines},
	}
}

func (r *ReaderEntrance) maxConn() int {
	if r == nil {
		return 0
	}
	return cmp.Or(r.MaxConn, DefaultReaderMaxConn)
}

func (c WriterConfig) global() Section {
	listen := c.Runtime.Address + " mode 600"
	if c.Runtime.Network == "tcp" {
		listen = "ipv4@" + c.Runtime.Address
		if strings.HasPrefix(c.Runtime.Address, "[") {
			listen = "ipv6@" + c.Runtime.Address
		}
	}
	lines := []Line{
		{Text: fmt.Sprintf("maxconn %d", c.MaxConn+c.Readers.maxConn()+runtimeMaxConn), Why: []string{
			"Each connection takes two file descriptors; HAProxy does not start when its user may",
			"not have as many. The entrance below gets its share, the runtime API the rest.",
		}},
		{Text: "stats socket " + listen + " level admin", Why: []string{
			"The runtime API, by which the routes are moved without a reload. It asks for no",
			"password: keep it on loopback or on a private network.",
		}},
		{Text: "stats timeout 30s"},
		{Text: "hard-stop-after 1s", Why: []string{
			"After a reload the former process keeps its connections, out of reach of the runtime",
			"API. It must be gone before a master can change behind its back.",
		}},
		{Text: "log stdout format raw daemon"},
	}
	if c.Hold != 0 {
		lines = append(lines, Line{Text: "lua-load-per-thread " + c.Lua, Why: []string{
			"Holds new connections while there is no master. Without this file HAProxy does not start.",
		}})
	}
	return Section{Kind: "global", Lines: lines}
}

func defaultsLines() []Line {
	return []Line{
		{Text: "mode tcp"},
		{Text: "log global"},
		{Text: "option tcplog"},
		{Text: "option dontlognull"},
		{Text: "option tcpka", Why: []string{
			"Pooled connections are idle for hours; keepalive finds the ends that have vanished,",
			"within a minute with the figures below.",
		}},
		{Text: "timeout connect 1s"},
		{Text: "timeout client 481m", Why: []string{
			"A little above MySQL's wait_timeout of 8 hours, so that the server ends an idle session",
			"and not the proxy. Raise both where wait_timeout is raised.",
		}},
		{Text: "timeout client-fin 200ms", Why: []string{
			"A MySQL client that closes wants nothing more. HAProxy does not end on command",
			"what it is closing already, so this also bounds how long the sessions of clients",
			"that gave up on a frozen master hold up its withdrawal.",
		}},
		{Text: "timeout server 481m"},
		{Text: "timeout server-fin 200ms"},
		{Text: "retries 0", Why: []string{
			"A retry waits a second for the same server. Refused at once, a client connects again,",
			"and by then finds the new master.",
		}},
		{Text: "clitcpka-cnt 3"},
		{Text: "clitcpka-idle 30s"},
		{Text: "clitcpka-intvl 10s"},
		{Text: "srvtcpka-cnt 3"},
		{Text: "srvtcpka-idle 30s"},
		{Text: "srvtcpka-intvl 10s"},
	}
}

// Text writes sections in HAProxy's own syntax.
func Text(sections []Section) string {
	var out strings.Builder
	for i, section := range sections {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(section.Kind)
		if section.Name != "" {
			out.WriteString(" " + section.Name)
		}
		if section.From != "" {
			out.WriteString(" from " + section.From)
		}
		out.WriteString("\n")
		for _, line := range section.Lines {
			for _, why := range line.Why {
				out.WriteString("  # " + why + "\n")
			}
			out.WriteString("  " + line.Text + "\n")
		}
	}
	return out.String()
}
