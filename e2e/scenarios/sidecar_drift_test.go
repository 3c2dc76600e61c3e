//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
)

// TestWhatSidecarsPutBackIsAudited: somebody else changes an HAProxy and a ProxySQL. Whether the sidecar undoes it by itself or is
// told to, the ledger knows what it was.
func TestWhatSidecarsPutBackIsAudited(t *testing.T) {
	ctx, s := startSite(t, site.Options{Proxies: 1, ProxySQLs: 1, ProxySidecars: &site.ProxySidecars{}})
	if err := s.WaitRouted(ctx); err != nil {
		t.Fatal(err)
	}
	// The first readers make a revision of their own, and what strays while that goes out is put back without being told of.
	until(t, ctx, 20*time.Second, "the proxies have the readers", func(ctx context.Context) error {
		var list wire.Proxies
		if err := s.Get(ctx, wire.PathProxies, &list); err != nil {
			return err
		}
		for _, p := range list.Proxies {
			if !p.Confirmed || p.Revision < 2 {
				return fmt.Errorf("%s is at revision %d: %s", p.Name, p.Revision, p.Problem)
			}
		}
		return nil
	})
	ha, ps, stray := s.Proxies[0], s.ProxySQLs[0], s.DB.Replicas[0]
	slot := site.ClusterName + "_writer/master"
	for _, command := range []string{"set server " + slot + " state maint",
		fmt.Sprintf("set server %s addr %s port 3306", slot, stray.Host()), "set server " + slot + " state ready"} {
		if _, err := matrix.Runtime(ctx, ha, command); err != nil {
			t.Fatal(err)
		}
	}
	if err := ps.Admin(ctx, "UPDATE mysql_servers SET status = 'OFFLINE_SOFT'", "LOAD MYSQL SERVERS TO RUNTIME"); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, 20*time.Second, "both are put back, and audited", func(ctx context.Context) error {
		text, err := matrix.Runtime(ctx, ha, "show servers state")
		if err != nil || !strings.Contains(text, " "+s.DB.Master.Host()+" 2 ") {
			return fmt.Errorf("%v: %s", err, text)
		}
		rows, err := ps.AdminRows(ctx, fmt.Sprintf("SELECT hostname, status FROM runtime_mysql_servers WHERE hostgroup_id = %d", site.WriterHostgroup))
		if want := fmt.Sprintf("[[%s ONLINE]]", s.DB.Master.Host()); err != nil || fmt.Sprint(rows) != want {
			return fmt.Errorf("%v, %v; want %s", rows, err, want)
		}
		var audit wire.Audit
		if err := s.Get(ctx, wire.PathAudit, &audit); err != nil {
			return err
		}
		told := map[string]string{}
		for _, e := range audit.Entries {
			for _, name := range []string{ha.Name, ps.Name} {
				if e.Action == "put-back-proxy" && strings.Contains(e.Reason, "proxy "+name+" ") {
					told[name] += e.Reason
				}
			}
		}
		if len(told) < 2 {
			return fmt.Errorf("the audit has %v", told)
		}
		return nil
	})
}
