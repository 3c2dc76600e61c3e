//go:build servers

package quorum_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// watch asks one controller again and again what it takes itself for, and what it has in its record.
func (s *story) watch(ctx context.Context, n *node) {
	peers := adminapi.NewPeers(secret)
	var before wire.Voice
	var pid int
	var seen uint64
	var era int32
	for turn := 0; ctx.Err() == nil; turn++ {
		rest(ctx, 100*time.Millisecond)
		if restarted, err := n.supervise(context.WithoutCancel(ctx)); err != nil {
			s.record.violation("%v", err)
		} else if restarted {
			s.record.count("ends of a controller with a full disk", 1)
		}
		asking, cancel := context.WithTimeout(ctx, time.Second)
		same, now := n.process.Pid(), n.era.Load()
		if now != era {
			era, before, seen = now, wire.Voice{}, 0
		}
		voice, err := peers.Voice(asking, n.url())
		cancel()
		if err != nil || n.era.Load() != era {
			continue
		}
		s.record.count("looks", 1)
		if same == n.process.Pid() {
			s.compare(n, before, voice, same == pid)
			before, pid = voice, same
		}
		if turn%10 == 0 {
			seen = s.collect(ctx, n, seen, era)
		}
	}
}

// compare holds what a controller says against what it has said before. Its answer is put together while it changes: it is
// said to lead a term only if it was of that term before.
func (s *story) compare(n *node, before, now wire.Voice, sameLife bool) {
	if now.Term < before.Term {
		s.record.violation("%s went back from term %d to term %d", n.id, before.Term, now.Term)
	}
	if sameLife && now.AppliedIndex < before.AppliedIndex {
		s.record.violation("%s went back from entry %d of the log to %d", n.id, before.AppliedIndex, now.AppliedIndex)
	}
	if sameLife && before.Term == now.Term && now.State == "leader" {
		s.record.leads(n.id, now.Term)
		s.leader.Store(n)
	}
}

// collect takes what is new in a controller's record, and returns how far it goes.
func (s *story) collect(ctx context.Context, n *node, seen uint64, era int32) uint64 {
	newest, next := seen, uint64(0)
	for {
		asking, cancel := context.WithTimeout(ctx, patience)
		url := fmt.Sprintf("%s%s?limit=%d", n.url(), wire.PathAudit, wire.MaxAudit)
		if next != 0 {
			url += "&before=" + strconv.FormatUint(next, 10)
		}
		reply, err := call.Do(asking, call.Request{Method: http.MethodGet, URL: url})
		cancel()
		var audit wire.Audit
		if err != nil || reply.Status != http.StatusOK || json.Unmarshal(reply.Body, &audit) != nil {
			return seen
		}
		s.record.see(n.id, audit.Entries)
		if next == 0 && len(audit.Entries) > 0 {
			newest = audit.Entries[0].ID
			// What was applied once is on its disk.
			if newest < seen && n.era.Load() == era {
				s.record.violation("%s went back from entry %d of the record to %d", n.id, seen, newest)
			}
		}
		next = audit.Next
		if next <= seen+1 {
			return newest
		}
	}
}

// readLog looks for what must not be in a controller's log, and takes from it who has led.
func (s *story) readLog(n *node) {
	log, err := n.log()
	if err != nil {
		s.record.violation("%v", err)
		return
	}
	won := regexp.MustCompile(`msg="election won".* term=(\d+)`)
	for line := range strings.Lines(log) {
		if found := won.FindStringSubmatch(line); found != nil {
			term, err := strconv.ParseUint(found[1], 10, 64)
			if err != nil {
				s.record.violation("%s: %q: %v", n.id, line, err)
			}
			s.record.leads(n.id, term)
			s.record.count("elections", 1)
		}
		for _, bad := range []string{"panic:", "panicked", "fatal error:", "DATA RACE", "SIGSEGV", "unexpected fault address"} {
			if at := strings.Index(log, line); strings.Contains(line, bad) {
				s.record.violation("%s printed:\n%s", n.id, log[at:min(len(log), at+4000)])
				return
			}
		}
	}
}
