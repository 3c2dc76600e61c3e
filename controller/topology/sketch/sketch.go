// Package sketch reads small topologies drawn as text, so that tests of the
// judging packages show the world that they judge. It is pure.
//
//	server m   exec=0-1-100 dc=east
//	server r1  <m io=Connecting exec=0-1-90 recv=0-1-100
//	view   c1  m=refused r1=ok
//
// Servers are named without a port (3306 is meant). The first view's observer
// is the snapshot's taker; a server seen as ok shows its drawn picture. A value
// with an underscore stands for one with a space. Other lines are:
//
//	master   NAME         # whom the ledger names; m if no line does
//	downtime NAME why
//	outcast  NAME why
//
// What a server can be drawn with is in words.go. A view's word is
// NAME=REACH, with what this observer knows besides added to it:
// m=refused+orderly:2s (the tripwire), m=ok+full-disk:12s (the write probe),
// m=ok+writes (a write probe that succeeds), m=ok+still:9s (the binary log),
// m=error+says:starting_up (the error).
package sketch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// Start is the moment of every sketch.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Key is the key of a drawn server.
func Key(name string) topology.Key { return topology.Key{Host: name, Port: topology.DefaultPort} }

// Parse reads a sketch. Sets are MariaDB's unless they have a colon; then
// uN: is short for the UUID of the server with id N, which is the Nth one drawn.
func Parse(text string) (topology.Snapshot, error) {
	d := drawing{
		snapshot: topology.Snapshot{
			Cluster: "shop", Master: Key("m"), At: Start, Servers: map[topology.Key]topology.Server{},
			Outcasts: map[topology.Key]string{}, Downtimed: map[topology.Key]string{},
		},
		stalled: map[topology.Key]time.Duration{}, still: map[topology.Key]time.Duration{},
	}
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 2 {
			return d.snapshot, fmt.Errorf("line %d: %q: want %s, and a name", n+1, line, kinds)
		}
		if err := d.add(words[0], words[1], words[2:]); err != nil {
			return d.snapshot, fmt.Errorf("line %d: %q: %w", n+1, line, err)
		}
	}
	d.nameSources()
	return d.snapshot, nil
}

const kinds = "server, view, master, downtime or outcast"

// drawing is a sketch that is being read.
type drawing struct {
	snapshot topology.Snapshot
	// stalled and still are what every observer samples of a server.
	stalled, still map[topology.Key]time.Duration
}

func (d *drawing) add(kind, name string, rest []string) error {
	key, why := Key(name), strings.Join(rest, " ")
	switch kind {
	case "server":
		return d.addServer(name, rest)
	case "view":
		return d.addView(name, rest)
	case "master":
		d.snapshot.Master = key
	case "downtime":
		d.snapshot.Downtimed[key] = why
	case "outcast":
		d.snapshot.Outcasts[key] = why
	default:
		return fmt.Errorf("want %s", kinds)
	}
	if _, drawn := d.snapshot.Servers[key]; !drawn {
		return fmt.Errorf("%s: draw the server first", name)
	}
	return nil
}

func (d *drawing) addServer(name string, words []string) error {
	key := Key(name)
	if _, drawn := d.snapshot.Servers[key]; drawn {
		return fmt.Errorf("%s: drawn twice", name)
	}
	i := &topology.Instance{
		Key: key, Address: key, Flavor: gtid.MariaDB, ServerID: uint32(len(d.snapshot.Servers) + 1),
		LogBin: true, LogReplicaUpdates: true, BinlogFormat: "ROW", GTIDMode: true, KeepsOrder: true,
	}
	server := topology.Server{Key: key, Last: i, LastSeen: Start}
	for _, w := range words {
		if from, ok := strings.CutPrefix(w, "<"); ok {
			server.Source = Key(from)
			i.ReadOnly = true
			i.Replication = &topology.Replication{
				Source: server.Source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true,
				HeartbeatPeriod: 500 * time.Millisecond,
			}
			continue
		}
		if err := d.set(&server, w); err != nil {
			return err
		}
	}
	finish(i)
	d.snapshot.Servers[key] = server
	return nil
}

// finish fills in what follows from a server's flavor.
func finish(i *topology.Instance) {
	version := "10.11.6-MariaDB"
	if i.Flavor == gtid.MySQL {
		version = "9.7.0"
		i.CanSuperReadOnly = true
		if i.UUID == "" {
			i.UUID = uuid(int(i.ServerID))
		}
	}
	if i.Version == "" {
		i.Version = version
	}
}

// nameSources has each MySQL replica note the UUID of its source.
func (d *drawing) nameSources() {
	for _, s := range d.snapshot.Servers {
		source := d.snapshot.Servers[s.Source].Last
		if r := s.Last; r != nil && r.Replication != nil && r.Flavor == gtid.MySQL && source != nil {
			r.Replication.SourceUUID = source.UUID
		}
	}
}

func (d *drawing) addView(observer string, words []string) error {
	s := &d.snapshot
	if s.Taker == "" {
		s.Taker = observer
	}
	v := topology.View{Observer: observer, At: Start, Observations: map[topology.Key]topology.Observation{}}
	for _, w := range words {
		name, seen, ok := strings.Cut(w, "=")
		key := Key(name)
		server, drawn := s.Servers[key]
		if !ok || !drawn {
			return fmt.Errorf("%s: want a drawn server and a reach", w)
		}
		parts := strings.Split(seen, "+")
		o := topology.Observation{
			Key: key, Reach: topology.Reach(parts[0]), Begun: Start.Add(-time.Millisecond), Ended: Start,
			Stalled: d.stalled[key], Still: d.still[key],
		}
		if o.Reach == topology.ReachOK {
			if server.Last == nil {
				return fmt.Errorf("%s: who was never seen cannot be ok", w)
			}
			o.Instance = server.Last
		}
		for _, part := range parts[1:] {
			if err := know(&o, part); err != nil {
				return fmt.Errorf("%s: %w", w, err)
			}
		}
		v.Observations[key] = o
	}
	s.Views = append(s.Views, v)
	return nil
}

// know adds what an observer knows of a server besides how it answered.
func know(o *topology.Observation, part string) error {
	word, value, given := strings.Cut(part, ":")
	if word == "says" {
		o.Error = strings.ReplaceAll(value, "_", " ")
		return nil
	}
	span := time.Second
	if given {
		var err error
		if span, err = time.ParseDuration(value); err != nil {
			return err
		}
	}
	switch {
	case word == "orderly":
		o.Tripwire = topology.TripEnd{Kind: topology.TripOrderly, At: Start.Add(-span)}
	case word == "still":
		o.Still = span
	case word == "stalled":
		o.Stalled = span
	case word == "writes":
		o.Write = &topology.WriteSight{}
	case slices.Contains(topology.Troubles(), topology.Trouble(word)):
		o.Write = &topology.WriteSight{Trouble: topology.Trouble(word), For: span}
	default:
		return fmt.Errorf("%s: want orderly, still, stalled, says, writes or a trouble", part)
	}
	return nil
}
