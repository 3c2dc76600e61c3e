package config_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"switchyard/controller/hooks"
)

func TestHooks(t *testing.T) {
	f := load(t, base+`hooks:
  timeout: 5s
  shell: /bin/bash
  on_failure_detection: ["a {failedHost}"]
  pre_graceful_takeover: ["b"]
  pre_failover: ["c1", "c2 '{failureCluster}'"]
  post_take_master: ["d"]
  post_master_failover: ["e"]
  post_intermediate_master_failover: ["f"]
  post_failover: ["g"]
  post_unsuccessful_failover: ["h"]
  post_graceful_takeover: ["i"]
`, nil)
	c := f.HooksConfig(environment)
	want := map[hooks.Moment][]string{
		hooks.OnFailureDetection: {"a {failedHost}"}, hooks.PreGracefulTakeover: {"b"}, hooks.PreFailover: {"c1", "c2 '{failureCluster}'"},
		hooks.PostTakeMaster: {"d"}, hooks.PostMasterFailover: {"e"}, hooks.PostIntermediateMasterFailover: {"f"},
		hooks.PostFailover: {"g"}, hooks.PostUnsuccessfulFailover: {"h"}, hooks.PostGracefulTakeover: {"i"},
	}
	if !reflect.DeepEqual(c.Commands, want) || c.Timeout != 5*time.Second || c.Shell != "/bin/bash" || c.Now == nil {
		t.Errorf("got %+v", c)
	}
	for name, value := range c.Environment {
		if slices.Contains([]string{sharedSecret, mysqlSecret, replSecret, tokenSecret}, value) {
			t.Errorf("hooks are given the secret %s", name)
		}
	}
	none := load(t, base, nil).HooksConfig(environment)
	if len(none.Commands) != 0 || none.Timeout != 30*time.Second || none.Shell != "/bin/sh" {
		t.Errorf("without hooks: %+v", none)
	}
}
