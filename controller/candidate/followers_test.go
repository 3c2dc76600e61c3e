package candidate_test

import (
	"fmt"
	"strings"
	"testing"

	"switchyard/controller/candidate"
	"switchyard/controller/topology/sketch"
)

func TestFollowers(t *testing.T) {
	s := parse(t, `
server m exec=0-1-100
server a <m exec=0-1-90 recv=0-1-99
server b <m exec=0-1-99
server c <m exec=0-1-99,0-9-100
server d <m exec=0-1-80 version=10.6.1
server e <m exec=0-1-80
server f <m exec=0-1-80 nogtid
server g <m exec=0-1-100
view c1 m=refused a=ok b=ok c=ok d=ok e=timeout f=ok g=ok`)
	can, cannot := candidate.Followers(s, sketch.Key("m"), nil, candidate.Choice{Key: sketch.Key("a")}, rules())
	if fmt.Sprint(can) != "[b:3306]" {
		t.Errorf("followers %v", can)
	}
	var said strings.Builder
	for _, e := range cannot {
		fmt.Fprintf(&said, "%s: %s\n", e.Key.Host, e.Reason)
	}
	for _, want := range []string{
		"c: it holds what the winner lacks: 0-9-100", "d: it cannot follow a:3306: its version 10.11 is newer than 10.6",
		"e: it does not answer: timeout", "f: it replicates by file and position", "g: it holds what the winner lacks: 0-1-100",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not said:\n%s", want, said.String())
		}
	}
	// What the winner takes from its source first, it does not lack.
	can, _ = candidate.Followers(s, sketch.Key("m"), nil, candidate.Choice{Key: sketch.Key("a"), Via: sketch.Key("g")}, rules())
	if fmt.Sprint(can) != "[b:3306 g:3306]" {
		t.Errorf("followers %v", can)
	}
}
