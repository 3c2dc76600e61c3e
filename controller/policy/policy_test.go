package policy_test

import (
	"reflect"
	"testing"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/quorum"
)

// What operators said wins, and the configured policy stays as it was.
func TestWith(t *testing.T) {
	a, b, c := topology.Key{Host: "a", Port: 1}, topology.Key{Host: "b", Port: 1}, topology.Key{Host: "c", Port: 1}
	configured := policy.Cluster{Recover: true, Rules: map[topology.Key]policy.Rule{a: policy.MustNot, b: policy.Prefer}}
	got := configured.With(map[topology.Key]policy.Rule{a: policy.Must, c: policy.PreferNot}, "kim: a migration")
	if got.Rule(a) != policy.Must || got.Rule(b) != policy.Prefer || got.Rule(c) != policy.PreferNot ||
		got.Paused != "kim: a migration" || !got.Recover {
		t.Errorf("%+v", got)
	}
	if configured.Rule(a) != policy.MustNot || configured.Rule(c) != policy.Neutral || configured.Paused != "" {
		t.Errorf("the configured policy was changed: %+v", configured)
	}
	if got := (policy.Cluster{}).With(map[topology.Key]policy.Rule{a: policy.Must}, ""); got.Rule(a) != policy.Must || got.Paused != "" {
		t.Errorf("%+v", got)
	}
}

func TestBegun(t *testing.T) {
	asked := policy.Cluster{MaxLag: time.Second, Backlog: policy.BacklogFail, PreventCrossRegion: true, CoMasterOnly: true}
	want := policy.Cluster{Backlog: policy.BacklogDelay, PreventCrossRegion: true, CoMasterOnly: true}
	if got := asked.Begun(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// Those who do not vote see nothing that counts, and while the voters change both
// sets must see it.
func TestAgreedByTheControllersThatThereAre(t *testing.T) {
	files := policy.Cluster{Controllers: 3}
	if files.Agreed([]string{"c1"}) || !files.Agreed([]string{"c1", "c2"}) {
		t.Error("without names, two of three agree")
	}
	changing := files.Of(quorum.Councils{{"c1", "c2", "c3", "c4"}, {"c2", "c3", "c4"}})
	for _, tc := range []struct {
		by   []string
		want bool
	}{
		{[]string{"c1", "c2", "c3"}, true},
		{[]string{"c2", "c3"}, false},
		{[]string{"c2", "c3", "c9"}, false},
		{[]string{"c2", "c3", "c4"}, true},
	} {
		if got := changing.Agreed(tc.by); got != tc.want {
			t.Errorf("%v: %t", tc.by, got)
		}
	}
	if changing.Controllers != 4 || files.Councils != nil {
		t.Errorf("%d controllers, %v", changing.Controllers, files.Councils)
	}
}
