//go:build servers

package scenarios_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// problem waits until the leader's status says something that has all words.
func problem(t *testing.T, ctx context.Context, s *site.Site, words ...string) {
	t.Helper()
	until(t, ctx, 20*time.Second, fmt.Sprintf("the status mentions %q", words), func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range status.Problems {
			found := true
			for _, w := range words {
				found = found && strings.Contains(p, w)
			}
			if found {
				return nil
			}
		}
		return fmt.Errorf("it says %q", status.Problems)
	})
}

// Whatever is wrong with one server is said, and the rest keeps working: the
// crash of the master is still recovered.
func TestOneBadServer(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, ctx context.Context, s *site.Site) []string{
		"wrong credentials": func(t *testing.T, ctx context.Context, s *site.Site) []string {
			bad := s.DB.Replicas[1]
			if err := bad.Exec(ctx, "SET SESSION sql_log_bin = 0", "SET PASSWORD FOR 'switchyard'@'%' = PASSWORD('other')"); err != nil {
				t.Fatal(err)
			}
			// Who is in stays in: a restart makes the controllers log in again.
			if err := bad.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			return []string{bad.Key(), "denied"}
		},
		"not MySQL": func(_ *testing.T, _ context.Context, s *site.Site) []string {
			return []string{strings.TrimPrefix(s.Consul.Address(), "http://"), "not a MySQL server"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s := newSite(t, site.Options{SeedConsul: name == "not MySQL"})
			problem(t, ctx, s, spoil(t, ctx, s)...)
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			rec := acts(t, ctx, s)
			if rec.Winner.String() != s.DB.Replicas[0].Key() && name == "wrong credentials" {
				t.Errorf("%s was promoted, which no controller can log in to", rec.Winner)
			}
		})
	}
}

// A replica that points to nobody who is known is reported, and adopted as nothing.
func TestReplicaOfAnUnknownMaster(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	nowhere, err := s.Stack.IP(3306)
	if err != nil {
		t.Fatal(err)
	}
	third := s.DB.Replicas[1]
	if err := third.Exec(ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='"+nowhere+"'", "START SLAVE"); err != nil {
		t.Fatal(err)
	}
	problem(t, ctx, s, nowhere, "unknown")
	if err := s.DB.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	if rec := acts(t, ctx, s); rec.Winner.String() != s.DB.Replicas[0].Key() {
		t.Errorf("%s was promoted", rec.Winner)
	}
}

// What a controller cannot start with ends it with status 2 and one sentence,
// and harms nobody.
func TestRefusedStarts(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	good := s.Controllers[2]
	other, err := s.Stack.IP(7400, 7401)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := fmt.Sprintf("\nbind: {raft: \"%s:7401\", http: \"%s:7400\"}\n", other, other)
	if err := good.Stop(ctx); err != nil { // its data directory is free now
		t.Fatal(err)
	}
	old := filepath.Join(good.Dir(), "data")
	for name, c := range map[string]struct {
		config string
		words  []string
	}{
		"two with one id": {s.Controllers[0].Config + elsewhere, []string{"id", "c1", "answers already"}},
		"data directory of another cluster": {
			strings.NewReplacer("name: site\n", "name: another\n", "data_dir: data", "data_dir: "+old).Replace(good.Config),
			[]string{old, "another", "site"},
		},
		"data directory of another controller": {
			strings.NewReplacer("id: c3\n", "id: c2\n", "data_dir: data", "data_dir: "+old).Replace(s.Controllers[1].Config + elsewhere),
			[]string{"c2", "answers already"},
		},
		"unreachable bind address": {
			strings.Replace(good.Config, "\nmysql:", "\nbind: {raft: \"192.0.2.1:7401\", http: \"192.0.2.1:7400\"}\nmysql:", 1),
			[]string{"bind.raft", "192.0.2.1:7401"},
		},
		"a cluster name with blanks": {
			strings.Replace(good.Config, "name: shop", "name: \"my shop\"", 1), []string{"clusters[0].name", "my shop"},
		},
		"a cluster name with a slash": {
			strings.Replace(good.Config, "name: shop", "name: a/b", 1), []string{"clusters[0].name", "a/b"},
		},
		"a cluster name of 300 characters": {
			strings.Replace(good.Config, "name: shop", "name: "+strings.Repeat("x", 300), 1), []string{"clusters[0].name", "300"},
		},
		"an unknown key": {good.Config + "\ncolour: red\n", []string{"colour"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := s.Stack.StartProcess(ctx, stack.ProcessSpec{
				Name: strings.ReplaceAll(name, " ", "-"), Path: s.Binary(), Args: []string{"controller", "--config", "switchyard.yaml"},
				Files: map[string]string{"switchyard.yaml": c.config},
			})
			if err != nil {
				t.Fatal(err)
			}
			wait, cancel := context.WithTimeout(ctx, 60*time.Second)
			defer cancel()
			if err := p.Wait(wait); err != nil {
				t.Fatalf("%v\n%s", err, p.Output())
			}
			if p.ExitCode() != 2 {
				t.Errorf("status %d, want 2", p.ExitCode())
			}
			lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
			last := lines[len(lines)-1]
			for _, w := range append(c.words, "switchyard.yaml") {
				if !strings.Contains(last, w) {
					t.Errorf("%q does not mention %q", last, w)
				}
			}
		})
	}
	if err := good.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.DB.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	acts(t, ctx, s)
}

// A truncated raft log is said, and the others go on without that controller.
func TestTruncatedRaftLog(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	victim := s.Controllers[2]
	if err := errors.Join(victim.Kill(), victim.Wait(ctx)); err != nil {
		t.Fatal(err)
	}
	var cut int
	err := filepath.WalkDir(filepath.Join(victim.Dir(), "data"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(entry.Name(), "meta") {
			return err
		}
		cut++
		return os.Truncate(path, 100)
	})
	if err != nil || cut == 0 {
		t.Fatalf("%d files cut: %v", cut, err)
	}
	if err := victim.Start(ctx); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := victim.Wait(wait); err != nil {
		t.Fatalf("%v\n%s", err, victim.Output())
	}
	if victim.ExitCode() != 2 || strings.Contains(victim.Output(), "panic") || !strings.Contains(victim.Output(), "data") {
		t.Errorf("status %d: %s", victim.ExitCode(), victim.Output())
	}
	if err := s.DB.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	acts(t, ctx, s)
}

// Rubbish at the door is refused with a reason, and the controllers live on.
func TestRubbishAtTheDoor(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	for name, c := range map[string]struct {
		method, path, body string
		status             []int
	}{
		"not JSON":         {"POST", "/api/v1/switchover", "{]", []int{400}},
		"unknown field":    {"POST", "/api/v1/switchover", `{"cluster":"shop","colour":1}`, []int{400}},
		"unknown cluster":  {"POST", "/api/v1/switchover", `{"cluster":"none"}`, []int{404}},
		"unknown instance": {"POST", "/api/v1/switchover", `{"cluster":"shop","to":"nobody:3306"}`, []int{404}},
		"huge body":        {"POST", "/api/v1/switchover", strings.Repeat("x", 10<<20), []int{413, 0}},
		"blank in a name":  {"GET", "/api/v1/topology/a%20b", "", []int{400}},
		"long name":        {"GET", "/api/v1/topology/" + strings.Repeat("a", 300), "", []int{400}},
		"no such path":     {"GET", "/api/v1/nothing", "", []int{404}},
		"wrong method":     {"DELETE", "/api/v1/status", "", []int{405}},
		"unsigned":         {"POST", "/internal/v1/witness", `{}`, []int{401}},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(ctx, c.method, s.Controllers[0].URL+c.path, bytes.NewBufferString(c.body))
			if err != nil {
				t.Fatal(err)
			}
			status := 0
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				status = resp.StatusCode
				text, readErr := io.ReadAll(resp.Body)
				if err := errors.Join(readErr, resp.Body.Close()); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(text), `"message"`) {
					t.Errorf("no reason: %s", text)
				}
			}
			for _, want := range c.status {
				if status == want {
					return
				}
			}
			t.Errorf("status %d, want %v: %v", status, c.status, err)
		})
	}
	for _, c := range s.Controllers {
		if !c.Running() {
			t.Errorf("%s has ended", c.ID)
		}
	}
	if _, err := s.Status(ctx); err != nil {
		t.Error(err)
	}
}
