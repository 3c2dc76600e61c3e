package candidate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"switchyard/controller/topology"
)

// feeder returns the best of the complete servers that can hand over to i what
// it lacks; or nil, and why the first of them cannot.
func (f field) feeder(i *topology.Instance, complete []*topology.Instance) (best *topology.Instance, why string) {
	for _, source := range complete {
		if reason := f.cannotFeed(source, i); reason != "" {
			if why == "" {
				why = fmt.Sprintf("; %s cannot hand it over to %s: %s", source.Key, i.Key, reason)
			}
		} else if best == nil || feedsSooner(source, best, i) {
			best = source
		}
	}
	if best != nil {
		return best, ""
	}
	return nil, why
}

// cannotFeed names what keeps source from handing over to i, or "". Being
// forbidden to be the master keeps nobody from handing over.
func (f field) cannotFeed(source, i *topology.Instance) string {
	r := source.Replication
	switch {
	case len(source.Unsupported) > 0:
		return "Switchyard does not recover such a server: " + strings.Join(source.Unsupported, "; ")
	case source.Filters != f.filters():
		return fmt.Sprintf("its replication filters (%s) are not those of the old master", cmp.Or(source.Filters, "none"))
	case r != nil && r.SQLErrno != 0 && !source.Executed.Contains(source.Received()):
		return fmt.Sprintf("its applier stopped with error %d, so that not all it received is in its binary log", r.SQLErrno)
	}
	return cannotServe(source, i, true)
}

// cannotServe names what keeps a server from being a reliable source of i, or
// "". A replica's own writes are few: what it applies must be in its binary log.
func cannotServe(source, i *topology.Instance, replica bool) string {
	sv, iv := versionOf(source), versionOf(i)
	switch {
	case !source.LogBin:
		return "it has no binary log"
	case replica && !source.LogReplicaUpdates:
		return "what it applied is not in its binary log (log_replica_updates is off)"
	case !source.GTIDMode:
		return "it does not use GTIDs"
	case source.Flavor != i.Flavor:
		return fmt.Sprintf("it is %s, and the other is %s", source.Flavor, i.Flavor)
	case source.ServerID == i.ServerID && source.ServerID != 0:
		return fmt.Sprintf("both have the server id %d", i.ServerID)
	case source.UUID == i.UUID && source.UUID != "":
		return "both have the server UUID " + i.UUID
	case iv.known() && sv.compare(iv) > 0:
		return fmt.Sprintf("its version %s is newer than %s, and an older server does not reliably replicate from a newer one", sv, iv)
	case formatOf(i) == statement && formatOf(source) > statement:
		return fmt.Sprintf("it may log rows (binlog_format %s), which a server with binlog_format STATEMENT refuses", source.BinlogFormat)
	}
	return ""
}

// feedsSooner reports whether a hands over to i sooner than b does.
func feedsSooner(a, b, i *topology.Instance) bool {
	return cmp.Or(
		compareBool(delayed(a), delayed(b)),
		compareBool(a.DataCenter != i.DataCenter, b.DataCenter != i.DataCenter),
		cmp.Compare(a.Received().Subtract(a.Executed).Count(), b.Received().Subtract(b.Executed).Count()),
		a.Key.Compare(b.Key),
	) < 0
}

// version is a server's major version, which in this field has two numbers.
type version struct{ major, minor int }

func versionOf(i *topology.Instance) version {
	first, rest, _ := strings.Cut(i.Version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(strings.TrimRight(second, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"))
	if err1 != nil || err2 != nil {
		return version{}
	}
	return version{major, minor}
}

func (v version) known() bool           { return v != version{} }
func (v version) compare(o version) int { return cmp.Or(v.major-o.major, v.minor-o.minor) }
func (v version) String() string        { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// statement is the least of the binary log's formats; each logs what those
// below it do.
const statement = 1

// formatOf orders the formats; 0 is not known.
func formatOf(i *topology.Instance) int {
	return 1 + slices.Index([]string{"STATEMENT", "MIXED", "ROW"}, strings.ToUpper(i.BinlogFormat))
}

// commonest returns the most common value of a property; of two that are as
// common, the lower one.
func commonest[T comparable](all []*topology.Instance, of func(*topology.Instance) T, compare func(a, b T) int) T {
	count := map[T]int{}
	for _, i := range all {
		count[of(i)]++
	}
	var best T
	for _, i := range all {
		v := of(i)
		if d := cmp.Compare(count[v], count[best]); d > 0 || d == 0 && compare(v, best) < 0 {
			best = v
		}
	}
	return best
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
