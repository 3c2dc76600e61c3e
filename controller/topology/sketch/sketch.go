// Package sketch reads small topologies drawn as text, so that tests of the
// judging packages show the world that they judge. It is pure.
//
//	server m   exec=0-1-100 dc=east
//	server r1  <m io=Connecting exec=0-1-90 recv=0-1-100
//	view   c1  m=refused r1=ok
//
// Servers are named without a port (3306 is meant). The first view's observer
// is the snapshot's taker; a server seen as ok shows its drawn picture.
package sketch

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// Start is the moment of every sketch.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Key is the key of a drawn server.
func Key(name string) topology.Key { return topology.Key{Host: name, Port: topology.DefaultPort} }

// Parse reads a sketch; the server named m is the master. Sets are MariaDB's
// unless they have a colon.
func Parse(text string) (topology.Snapshot, error) {
	s := topology.Snapshot{Cluster: "shop", Master: Key("m"), At: Start, Servers: map[topology.Key]topology.Server{}}
	stalled := map[topology.Key]time.Duration{}
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 2 {
			return s, fmt.Errorf("line %d: %q: want server or view, and a name", n+1, line)
		}
		var err error
		switch words[0] {
		case "server":
			err = addServer(&s, stalled, words[1], words[2:])
		case "view":
			err = addView(&s, stalled, words[1], words[2:])
		default:
			err = fmt.Errorf("want server or view")
		}
		if err != nil {
			return s, fmt.Errorf("line %d: %q: %w", n+1, line, err)
		}
	}
	return s, nil
}

func addServer(s *topology.Snapshot, stalled map[topology.Key]time.Duration, name string, words []string) error {
	key := Key(name)
	i := &topology.Instance{
		Key: key, Address: key, Flavor: gtid.MariaDB, Version: "10.11.6-MariaDB", ServerID: uint32(len(s.Servers) + 1),
		LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: true,
	}
	source := topology.Key{}
	for _, w := range words {
		if from, ok := strings.CutPrefix(w, "<"); ok {
			source = Key(from)
			i.ReadOnly = true
			i.Replication = &topology.Replication{
				Source: source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true,
				HeartbeatPeriod: 500 * time.Millisecond,
			}
			continue
		}
		if err := set(i, stalled, w); err != nil {
			return err
		}
	}
	s.Servers[key] = topology.Server{Key: key, Last: i, LastSeen: Start, Source: source}
	return nil
}

func set(i *topology.Instance, stalled map[topology.Key]time.Duration, word string) error {
	name, value, _ := strings.Cut(word, "=")
	r := i.Replication
	if r == nil {
		r = &topology.Replication{}
	}
	var err error
	switch name {
	case "exec":
		i.Executed, err = parseSet(i, value)
	case "recv":
		r.Received, err = parseSet(i, value)
	case "io":
		r.IO = topology.ThreadState(value)
	case "sql":
		r.SQL = topology.ThreadState(value)
	case "sqlerrno":
		r.SQLErrno, err = strconv.Atoi(value)
	case "hb":
		r.HeartbeatPeriod, err = time.ParseDuration(value)
	case "lag":
		var d time.Duration
		d, err = time.ParseDuration(value)
		r.Lag = &d
	case "stalled":
		stalled[i.Key], err = time.ParseDuration(value)
	case "dc":
		i.DataCenter = value
	case "readonly":
		i.ReadOnly = true
	case "nobinlog":
		i.LogBin = false
	case "nolog":
		i.LogReplicaUpdates = false
	case "nogtid":
		r.UsesGTID = false
	default:
		return fmt.Errorf("%s: no such word", word)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

func parseSet(i *topology.Instance, text string) (gtid.Set, error) {
	if strings.Contains(text, ":") {
		i.Flavor = gtid.MySQL
		return gtid.ParseMySQL(text)
	}
	return gtid.ParseMariaDB(i.ServerID, text)
}

func addView(s *topology.Snapshot, stalled map[topology.Key]time.Duration, observer string, words []string) error {
	if s.Taker == "" {
		s.Taker = observer
	}
	v := topology.View{Observer: observer, At: Start, Observations: map[topology.Key]topology.Observation{}}
	for _, w := range words {
		name, reach, ok := strings.Cut(w, "=")
		key := Key(name)
		if _, drawn := s.Servers[key]; !ok || !drawn {
			return fmt.Errorf("%s: want a drawn server and a reach", w)
		}
		o := topology.Observation{Key: key, Begun: Start.Add(-time.Millisecond), Ended: Start, Stalled: stalled[key]}
		how, orderly := strings.CutSuffix(reach, "+orderly")
		if orderly {
			o.Tripwire = topology.TripEnd{Kind: topology.TripOrderly, At: Start.Add(-time.Second)}
		}
		o.Reach = topology.Reach(how)
		if o.Reach == topology.ReachOK {
			o.Instance = s.Servers[key].Last
		}
		v.Observations[key] = o
	}
	s.Views = append(s.Views, v)
	return nil
}
