package console_test

import (
	"slices"
	"strings"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

func TestAdoptAfterARestore(t *testing.T) {
	w := newWorld(t)
	state, err := ledger.Restored(w.state, 1_800_000_000, "kim", "", noon)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(cluster, master string) (wire.Done, error) {
		return w.console().Adopt(t.Context(), wire.AdoptRequest{
			Cluster: cluster, Master: key(master), Asker: wire.Asker{By: "kim", Reason: "I failed it over"},
		})
	}
	_, err = ask("shop", "a")
	refused(t, err, wire.Conflict, 409) // It is not restored.
	w.state = state
	if s, err := w.console().Status(t.Context()); err != nil || !slices.ContainsFunc(s.Problems, func(p string) bool {
		return strings.Contains(p, "cluster shop is held") && strings.Contains(p, "epoch 7.1 of the backup its master was m:3306")
	}) {
		t.Errorf("%v: the status does not say so: %q", err, s.Problems)
	}
	if _, err := w.console().Topology(t.Context(), "shop"); err == nil || !strings.Contains(err.Error(), "is held") {
		t.Errorf("the topology does not say so: %v", err)
	}
	_, err = ask("blog", "a")
	refused(t, err, wire.NotFound, 404)
	w.draw("server m exec=0-1-9\nserver a <b exec=0-1-9\nserver b exec=0-1-9\nview c1 m=refused a=ok b=ok\n")
	_, err = ask("shop", "m")
	refused(t, err, wire.Refused, 409)
	_, err = ask("shop", "a")
	refused(t, err, wire.Refused, 409)
	if len(w.proposed) != 0 {
		t.Fatalf("proposed %+v", w.proposed)
	}
	d, err := ask("shop", "b")
	said(t, d, err, true, "b:3306 is the master of cluster shop, at epoch 1800000000.2", "epoch 7.1 of the backup it was m:3306")
	if w.state.Servers[key("m")].Standing != ledger.Deposed {
		t.Errorf("%+v", w.state.Servers[key("m")])
	}
	d, err = ask("shop", "b")
	said(t, d, err, false, "b:3306 is the master")
}
