package sketch_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

func TestParse(t *testing.T) {
	s, err := sketch.Parse(`
server a exec=u1:1-9 source clients=1 wait=2 passer=app@% boots=read-only
server b <a writable acks delay=1h io=Connecting ioerror=error_connecting exec=u1:1-8 still=3s
server c version=8.0.1
master a
downtime b being rebuilt
outcast c holds more
view c1 a=ok+full-disk:12s+still:9s b=ok c=refused+orderly:2s
view c2 a=ok+writes`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.Servers[sketch.Key("a")].Last, s.Servers[sketch.Key("b")].Last
	if a.Flavor != gtid.MySQL || a.UUID == "" || b.Replication.SourceUUID != a.UUID || !b.Executed.WithoutOrigin(a.UUID, 1).IsEmpty() {
		t.Errorf("UUIDs: %+v %+v", a, b)
	}
	if !a.SemiSync.SourceOn || a.SemiSync.WaitCount != 2 || a.SemiSync.Clients != 1 || a.Boots != topology.BootsReadOnly ||
		len(a.FencePassers) != 1 {
		t.Errorf("%+v", a)
	}
	if b.ReadOnly || b.Replication.Delay != time.Hour || b.Replication.IOError != "error connecting" {
		t.Errorf("%+v", b)
	}
	if s.Master != a.Key || s.Downtimed[b.Key] != "being rebuilt" || s.Outcasts[sketch.Key("c")] != "holds more" {
		t.Errorf("%+v", s)
	}
	seen := s.Views[0].Observations
	if o := seen[a.Key]; o.Write.Trouble != topology.TroubleDiskFull || o.Write.For != 12*time.Second || o.Still != 9*time.Second {
		t.Errorf("%+v", o)
	}
	if o := seen[b.Key]; o.Write != nil || o.Still != 3*time.Second {
		t.Errorf("%+v", o)
	}
	if o := seen[sketch.Key("c")]; !o.Tripwire.At.Equal(sketch.Start.Add(-2 * time.Second)) {
		t.Errorf("%+v", o)
	}
	if o := s.Views[1].Observations[a.Key]; o.Write == nil || o.Write.Trouble != "" {
		t.Errorf("%+v", o)
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"server":                     "and a name",
		"sever m":                    "want server",
		"server m exce=1":            "no such word",
		"server m io=No":             "<SOURCE",
		"server m dc=a\nserver m":    "drawn twice",
		"server m\nview c1 r=ok":     "drawn server",
		"server m\nview c1 m=ok+sad": "a trouble",
		"server m\nmaster x":         "draw the server first",
		"server m clients=x":         "clients=x",
	} {
		if _, err := sketch.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
