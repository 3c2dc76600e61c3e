//go:build servers

package consul

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"switchyard/e2e/stack"
)

// TestAnAgentPassesOnToAnotherDatacenter: a datacenter without a controller is
// written through an agent of another one.
func TestAnAgentPassesOnToAnotherDatacenter(t *testing.T) {
	s, ctx := newStack(t)
	cache, err := stack.CacheDir()
	must(t, err)
	var addresses []string
	var first string
	var processes []*stack.Process
	for _, datacenter := range []string{"dc1", "dc2"} {
		ip, err := s.IP(8300, 8301, 8302, stack.ConsulPort, 8502, 8503, 8600)
		must(t, err)
		if first == "" {
			first = ip
		}
		config := fmt.Sprintf("node_name = %q\ndatacenter = %q\ndata_dir = %q\nbind_addr = %q\nclient_addr = %q\n"+
			"server = true\nbootstrap_expect = 1\nretry_join_wan = [%q]\nretry_interval_wan = \"200ms\"\ndisable_update_check = true\n"+
			"performance { raft_multiplier = 1 }\n", datacenter, datacenter, filepath.Join(s.Dir(), datacenter+"-data"), ip, ip, first)
		process, err := s.StartProcess(ctx, stack.ProcessSpec{Name: "wan-" + datacenter, Path: filepath.Join(cache, "consul"),
			Args: []string{"agent", "-config-file=consul.hcl"}, Files: map[string]string{"consul.hcl": config}})
		must(t, err)
		processes, addresses = append(processes, process), append(addresses, fmt.Sprintf("http://%s:%d", ip, stack.ConsulPort))
	}
	through := newConsul(t, Config{Datacenter: "dc2", Address: addresses[0], Timeout: 10 * time.Second})
	must(t, processes[0].WaitFor(ctx, "passing on", func(ctx context.Context) error {
		_, err := through.Publish(ctx, record(5, "db1"))
		return err
	}))
	there := newConsul(t, Config{Datacenter: "dc2", Address: addresses[1], Timeout: 10 * time.Second})
	if got, err := there.Read(ctx, "shop"); err != nil || got != record(5, "db1") {
		t.Errorf("dc2 holds %+v, %v", got, err)
	}
	here := newConsul(t, Config{Datacenter: "dc1", Address: addresses[0], Timeout: 10 * time.Second})
	if got, err := here.Read(ctx, "shop"); err != nil || !got.Epoch.IsZero() {
		t.Errorf("dc1 holds %+v, %v", got, err)
	}
	// A datacenter that is gone costs the deadline, and the way there tells so.
	must(t, processes[1].Freeze())
	quick := newConsul(t, Config{Datacenter: "dc2", Address: addresses[0], Timeout: 500 * time.Millisecond})
	began := time.Now()
	if was, err := quick.Publish(ctx, record(6, "db2")); err == nil || was != nil || time.Since(began) > 15*time.Second {
		t.Errorf("after %s: %v, %v", time.Since(began), was, err)
	}
	must(t, processes[1].Thaw())
	publish(t, ctx, through, record(7, "db3"), true)
}
