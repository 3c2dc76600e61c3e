// Package house holds the project to its own plan: which package may import which, and what the decision core may not
// touch. It is a test only; DESIGN.md draws the same floors for people.
package house

import "strings"

// module is the product's module path.
const module = "switchyard"

// The floors that rules name.
const (
	pure    = 3 // This floor and those below decide, and touch neither clock nor world.
	hands   = 4
	roof    = 6
	ground  = 7 // main.
	outside = 9 // e2e stands beside the house.
)

// room is a package with its floor. Next names the packages of the same floor that it may import: without being named
// here, a package imports lower floors only.
type room struct {
	path  string
	floor int
	next  []string
}

// rooms is the whole house. A path that ends in /... stands for every package below it.
func rooms() []room {
	return []room{
		{"controller/gtid", 0, nil},
		{"router/routes", 0, nil},
		{"store/quorum", 0, nil},

		{"controller/topology", 1, nil},
		{"controller/topology/sketch", 1, []string{"controller/topology"}},
		{"controller/policy", 1, []string{"controller/topology"}},
		{"store/ledger", 1, []string{"controller/topology"}},
		{"sidecar/protocol", 1, nil},

		{"controller/analysis", 2, nil},
		{"controller/candidate", 2, nil},
		{"controller/adminapi/wire", 2, nil},
		{"store/codec", 2, nil},
		{"store/membership", 2, nil},
		{"router/haproxy", 2, nil},
		{"router/proxysql", 2, nil},
		{"sidecar/lease", 2, nil},

		{"controller/safety", 3, nil},
		{"controller/plan", 3, nil},
		{"controller/concord", 3, nil},
		{"controller/scenario", 3, []string{"controller/safety", "controller/plan"}},

		{"controller/adminapi/call", hands, nil},
		{"controller/discovery", hands, nil},
		{"controller/observer", hands, nil},
		{"controller/witness", hands, nil},
		{"controller/executor", hands, nil},
		{"controller/leases", hands, nil},
		{"controller/rejoin", hands, []string{"controller/executor"}},
		{"controller/relocate", hands, []string{"controller/executor"}},
		{"controller/hooks", hands, nil},
		{"controller/quarantine", hands, nil},
		{"controller/publisher", hands, nil},
		{"controller/readers", hands, nil},
		{"controller/bulletin", hands, nil},
		{"controller/metrics", hands, nil},
		{"router/fleet", hands, nil},
		{"sidecar/agent", hands, nil},
		{"sidecar/call", hands, nil},
		{"sidecar/fence", hands, nil},
		{"sidecar/guard", hands, []string{"sidecar/fence"}},
		{"sidecar/tie", hands, []string{"sidecar/guard"}},
		{"store/sqlite", hands, nil},
		{"integrations/...", hands, nil},

		{"controller/failover", 5, nil},
		{"controller/console", 5, []string{"controller/failover"}},
		{"controller/adminapi", 5, nil},
		{"controller/ctl", 5, nil},
		{"controller/config", 5, nil},
		{"sidecar/config", 5, []string{"controller/config"}},
		{"sidecar/door", 5, nil},
		{"store", 5, nil},

		{"controller/app", roof, nil},
		{"controller/cli", roof, []string{"controller/app", "sidecar/app"}},
		{"controller/sim", roof, nil},
		{"sidecar/app", roof, nil},

		{"", ground, nil},
		{"e2e/...", outside, nil},
	}
}

// find returns the room of a package path relative to the module.
func find(path string) (room, bool) {
	for _, r := range rooms() {
		if below, ok := strings.CutSuffix(r.path, "/..."); ok && strings.HasPrefix(path, below+"/") {
			return room{path: path, floor: r.floor}, true
		}
		if r.path == path {
			return r, true
		}
	}
	return room{}, false
}

// system is the outside system of an adapter: integrations/mysql/probe belongs to integrations/mysql.
func system(path string) string {
	parts := strings.SplitN(path, "/", 3)
	if len(parts) < 2 || parts[0] != "integrations" {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

// unclean are the packages that the pure floors do not import.
func unclean() []string {
	return []string{"context", "log", "log/slog", "os", "os/exec", "database/sql", "sync", "sync/atomic",
		"math/rand", "math/rand/v2", "crypto/rand", "syscall", "io/ioutil"}
}

// stringHelpers are the parts of net that only cut and join strings; with them the pure floors may import net.
func stringHelpers() []string {
	return []string{"net.SplitHostPort", "net.JoinHostPort", "net.ParseIP"}
}

// clocks are the functions by which time enters unasked.
func clocks() []string {
	return []string{"time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep", "time.Tick",
		"time.NewTimer", "time.NewTicker"}
}

// emptyNames say nothing about what is in a package.
func emptyNames() []string {
	return []string{"utils", "util", "common", "helpers", "helper", "types", "models", "model", "shared", "misc", "base", "core"}
}
