package ledger

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"switchyard/controller/topology"
)

func TestBadCommands(t *testing.T) {
	s := run(t, shop(t), claim(Failover, 1, a, noon))
	spaced := claim(Failover, 1, a, noon)
	spaced.Cluster = "my shop"
	leaderless := claim(Failover, 1, a, noon)
	leaderless.Leader = ""
	backwards := claim(Failover, 1, a, noon)
	backwards.AntiFlap = -1
	kindless := claim("", 1, a, noon)
	step := Step{Name: "x", Leader: "l", StartedAt: noon, EndedAt: noon, Outcome: "maybe"}
	for _, tc := range []struct {
		cmd  Command
		want string
	}{
		{Bootstrap{Generation: 1}, "id is empty"},
		{Bootstrap{ID: "prod"}, "generation is 0"},
		{Bootstrap{ID: "test", Generation: 9}, `this is the ledger "prod", not "test"`},
		{AdoptMaster{Master: a, At: noon}, "cluster is empty"},
		{AdoptMaster{Cluster: "a/b", Master: a, At: noon}, `cluster "a/b"`},
		{AdoptMaster{Cluster: strings.Repeat("x", 300), Master: a, At: noon}, "has 300 bytes"},
		{AdoptMaster{Cluster: "blog", At: noon}, "master is empty"},
		{AdoptMaster{Cluster: "blog", Master: topology.Key{Host: "a b", Port: 1}, At: noon}, "is no HOST:PORT"},
		{AdoptMaster{Cluster: "blog", Master: topology.Key{Host: "x"}, At: noon}, "is no HOST:PORT"},
		{AdoptMaster{Cluster: "blog", Master: a}, "at is the zero time"},
		{AdoptMaster{Cluster: "blog", Master: a, At: time.Date(10500, 1, 1, 0, 0, 0, 0, time.UTC)}, "in the year 10500"},
		{RememberServers{Cluster: "blog", Servers: []ServerName{{Key: b}}, At: noon}, "cluster blog is unknown"},
		{RememberServers{Cluster: "shop", At: noon}, "servers: there are 0"},
		{RememberServers{Cluster: "shop", Servers: []ServerName{{Key: b}, {}}, At: noon}, "servers[1] is empty"},
		{spaced, `cluster "my shop"`},
		{leaderless, "leader is empty"},
		{backwards, "anti_flap is negative"},
		{kindless, `recovery_kind ""`},
		{ResumeRecovery{Recovery: "shop-2", At: noon}, "leader is empty"},
		{ResumeRecovery{Leader: "ctl-2", At: noon}, "recovery is empty"},
		{ChooseWinner{Recovery: "shop-2", At: noon}, "winner is empty"},
		{Rewind{Recovery: "shop-2"}, "at is the zero time"},
		{Announce{Recovery: "shop-2"}, "at is the zero time"},
		{CloseRecovery{Recovery: "shop-2", At: noon}, `outcome ""`},
		{CloseRecovery{Recovery: "shop-2", Outcome: Failed, Lost: []topology.Key{{}}, At: noon}, "lost[0] is empty"},
		{RecordSteps{Steps: []Step{step}}, "recovery is empty"},
		{RecordSteps{Recovery: "shop-2", Steps: []Step{step}}, `steps[0].outcome "maybe"`},
		{MarkDatacenterDown{By: "kim", Reason: "r", Until: noon.Add(1), At: noon}, "datacenter is empty"},
		{MarkDatacenterDown{Datacenter: "dc1", By: "kim", Until: noon.Add(1), At: noon}, "reason is empty"},
		{MarkDatacenterDown{Datacenter: "dc1", Reason: "r", Until: noon.Add(1), At: noon}, "by is empty"},
		{MarkDatacenterDown{Datacenter: "dc1", By: "kim", Reason: "r", Until: noon, At: noon}, "is not after"},
		{MarkDatacenterDown{Datacenter: strings.Repeat("x", 300), By: "kim", Reason: "r", Until: noon.Add(1), At: noon}, "has 300 bytes"},
		{MarkDatacenterUp{By: "kim", At: noon}, "datacenter is empty"},
		{MarkDatacenterUp{Datacenter: "dc1", At: noon}, "by is empty"},
		{SetStanding{Server: topology.Key{Host: "x", Port: 9}, Standing: Member, At: noon}, "is unknown"},
		{Confirm{Confirmation{Receiver: "fax", Name: "x", Cluster: "shop", At: noon}}, `receiver "fax"`},
		{Confirm{Confirmation{Receiver: Proxy, Cluster: "shop", Epoch: epoch(1), At: noon}}, "name is empty"},
		{Confirm{Confirmation{Receiver: Proxy, Name: "x", Cluster: "blog", Epoch: epoch(1), At: noon}}, "blog is unknown"},
		{Confirm{Confirmation{Receiver: Proxy, Name: "x", Cluster: "shop", At: noon}}, "epoch is zero"},
		{&Bootstrap{ID: "prod", Generation: 1}, "*ledger.Bootstrap"},
	} {
		refused(t, s, tc.cmd, tc.want)
	}
	refused(t, State{}, AdoptMaster{Cluster: "blog", Master: a, At: noon}, "not bootstrapped")
	if _, _, err := Apply(s, nil); err == nil {
		t.Error("no command at all was accepted")
	}
}

func TestConfirmationKeyRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		want := ConfirmationKey{
			Receiver: Receiver(text.Draw(t, "receiver")), Name: text.Draw(t, "name"), Cluster: text.Draw(t, "cluster"),
		}
		written, err := want.MarshalText()
		if err != nil || !utf8.Valid(written) {
			t.Fatalf("%q, %v", written, err)
		}
		var got ConfirmationKey
		if err := got.UnmarshalText(written); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q came back as %+v, %v", written, got, err)
		}
	})
}

func TestBadConfirmationKeys(t *testing.T) {
	for _, text := range []string{"", "proxy", "proxy/a", "a/b/c/d", "a/b%/c", "a/b%1/c", "a/b%zz/c", "a/b%1f/c"} {
		if err := new(ConfirmationKey).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestCutKeepsRunesWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, limit := rapid.String().Draw(t, "text"), rapid.IntRange(0, 20).Draw(t, "limit")
		got := cut(text, limit)
		if !strings.HasPrefix(text, got) || len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("cut(%q, %d) = %q", text, limit, got)
		}
		if len(text) > limit && len(got)+utf8.UTFMax <= limit {
			t.Fatalf("cut(%q, %d) = %q: cut too much", text, limit, got)
		}
	})
}
