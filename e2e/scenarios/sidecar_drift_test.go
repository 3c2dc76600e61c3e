//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

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
	ha, ps, stray := s.Proxies[0], s.ProxySQLs[0], s.DB.Replicas[0]
	slot := site.ClusterName + "_writer/master"
	putBack(t, ctx, s, ha.Name, func() {
		for _, command := range []string{"set server " + slot + " state maint",
			fmt.Sprintf("set server %s addr %s port 3306", slot, stray.Host()), "set server " + slot + " state ready"} {
			if _, err := matrix.Runtime(ctx, ha, command); err != nil {
				t.Fatal(err)
			}
		}
	}, func() {
		until(t, ctx, 20*time.Second, "HAProxy is put back", func(ctx context.Context) error {
			text, err := matrix.Runtime(ctx, ha, "show servers state")
			if err != nil || !strings.Contains(text, " "+s.DB.Master.Host()+" 2 ") {
				return fmt.Errorf("%v: %s", err, text)
			}
			return nil
		})
	})
	putBack(t, ctx, s, ps.Name, func() {
		if err := ps.Admin(ctx, "UPDATE mysql_servers SET status = 'OFFLINE_SOFT'", "LOAD MYSQL SERVERS TO RUNTIME"); err != nil {
			t.Fatal(err)
		}
	}, func() {
		until(t, ctx, 20*time.Second, "ProxySQL is put back", func(ctx context.Context) error {
			rows, err := ps.AdminRows(ctx, fmt.Sprintf("SELECT hostname, status FROM runtime_mysql_servers WHERE hostgroup_id = %d", site.WriterHostgroup))
			if want := fmt.Sprintf("[[%s ONLINE]]", s.DB.Master.Host()); err != nil || fmt.Sprint(rows) != want {
				return fmt.Errorf("%v, %v; want %s", rows, err, want)
			}
			return nil
		})
	})
}
