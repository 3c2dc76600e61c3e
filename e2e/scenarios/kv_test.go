//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/store/ledger"
)

// TestAKeyChangedByHandIsPutBackAndReported: whichever controller finds it, the audit has it, and `switchyard kv` shows
// that all is right again, and who writes.
func TestAKeyChangedByHandIsPutBackAndReported(t *testing.T) {
	ctx, s := startSite(t, site.Options{Replicas: 1})
	if err := s.WaitRouted(ctx); err != nil {
		t.Fatal(err)
	}
	byHand := func(method, key, value string) {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, method, s.Consul.Address()+"/v1/kv/mysql/master/"+key, strings.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v", method, key, response.Status, err)
		}
	}
	entry := func(ctx context.Context) (wire.KVEntry, error) {
		var kv wire.KV
		if err := s.Get(ctx, wire.PathKV+"?cluster="+site.ClusterName, &kv); err != nil {
			return wire.KVEntry{}, err
		}
		if len(kv.Entries) != 1 {
			return wire.KVEntry{}, fmt.Errorf("%+v", kv)
		}
		return kv.Entries[0], nil
	}
	right := func(ctx context.Context) error {
		e, err := entry(ctx)
		if err == nil && (e.State != wire.KVRight || e.Master != s.DB.Master.Key() || len(e.Writers) != 3) {
			err = fmt.Errorf("%+v", e)
		}
		for _, w := range e.Writers {
			if err == nil && (w.Error != "" || w.ConfirmedAt.IsZero()) {
				err = fmt.Errorf("%+v", w)
			}
		}
		return err
	}
	until(t, ctx, 30*time.Second, "all controllers keep it", right)
	repairs := 0
	for _, change := range []struct{ method, key, value string }{
		{http.MethodPut, site.ClusterName + "/hostname", "by-hand"},
		{http.MethodDelete, site.ClusterName + "?recurse", ""},
	} {
		byHand(change.method, change.key, change.value)
		until(t, ctx, 30*time.Second, "it is put back", right)
		until(t, ctx, 30*time.Second, "it is counted", func(ctx context.Context) error {
			e, err := entry(ctx)
			sum := 0
			for _, w := range e.Writers {
				sum += w.Repairs
			}
			// Two that see it in the same moment both put it back.
			if err == nil && sum <= repairs {
				err = fmt.Errorf("%d repairs: %+v", sum, e)
			}
			repairs = max(repairs, sum)
			return err
		})
	}
	until(t, ctx, 30*time.Second, "it is in the audit", func(ctx context.Context) error {
		var audit wire.Audit
		if err := s.Get(ctx, wire.PathAudit+"?kind="+string(ledger.AuditRepair), &audit); err != nil {
			return err
		}
		for _, e := range audit.Entries {
			if e.Action == "put-back-consul" && strings.Contains(e.Reason, "by-hand") && strings.HasPrefix(e.By, "c") {
				return nil
			}
		}
		return errors.New("there is no entry")
	})
	out, err := exec.CommandContext(ctx, s.Binary(), "kv", "--api", s.Controllers[2].URL).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "right") || !strings.Contains(string(out), "c1, c2, c3") {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}
