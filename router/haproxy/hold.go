package haproxy

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// DefaultHold is for how long a new connection waits for a master unless told.
// Clients of MySQL that wait for the greeting with a bound of their own wait
// 10 s as a rule, and are to be told before they give up.
const DefaultHold = 9 * time.Second

// MaxHold keeps held connections from piling up without end.
const MaxHold = time.Minute

// HoldFile is what the Lua file beside the configuration is called, and
// DefaultLua where the configuration looks for it unless told.
const (
	HoldFile   = "switchyard.lua"
	DefaultLua = "/etc/haproxy/" + HoldFile
)

// minHold is below what one look at the server takes.
const minHold = 100 * time.Millisecond

// holdSlack is how long after the hold HAProxy itself would end it. It must be
// later: after that an action may not wait any more, and fails.
const holdSlack = 500 * time.Millisecond

// CheckHold says what is wrong with a time to hold connections for; 0 is none.
func CheckHold(hold time.Duration) error {
	switch {
	case hold == 0:
		return nil
	case hold < minHold || hold > MaxHold || hold%time.Millisecond != 0:
		return fmt.Errorf("haproxy: hold %s: want 0 (new connections are closed at once) or whole milliseconds from %s to %s",
			hold, minHold, MaxHold)
	}
	return nil
}

func (c WriterConfig) checkHold() error {
	err := CheckHold(c.Hold)
	if c.Hold != 0 && (!path.IsAbs(c.Lua) || strings.ContainsAny(c.Lua, " \t\r\n\"'#\\")) {
		err = errors.Join(err, fmt.Errorf("haproxy: lua %q: want the absolute path of %s, without blanks", c.Lua, HoldFile))
	}
	return err
}

// holdLines make new connections wait for a server of the backend in the frontend,
// where they have not chosen the slot yet: they are no sessions of it, so a
// withdrawal neither sees nor ends them. Missing is what they wait for.
func (c WriterConfig) holdLines(backend, missing string) []Line {
	if c.Hold == 0 {
		return nil
	}
	nobody := "if { nbsrv(" + backend + ") eq 0 }"
	return []Line{
		{Text: fmt.Sprintf("tcp-request inspect-delay %dms", (c.Hold + holdSlack).Milliseconds()), Why: []string{
			"While there is " + missing + ", a new connection waits for one instead of being closed, up to",
			c.Hold.String() + ". Its client sees a late greeting. Keep this below the connect timeouts of the",
			"applications. The first line is the bound of HAProxy itself, and must be the longer one.",
		}},
		{Text: fmt.Sprintf("tcp-request content lua.switchyard_hold %s %d %s", backend, c.Hold.Milliseconds(), nobody)},
		{Text: "tcp-request content reject " + nobody},
	}
}

// HoldScript is the Lua file that the configuration loads.
const HoldScript = `-- Made by: switchyard haproxy config. HAProxy loads it, one copy per thread.
--
-- "tcp-request content lua.switchyard_hold BACKEND MS" holds a connection until
-- a server of BACKEND is up, its client has gone, or MS milliseconds are over.

local held = 0

local function milliseconds()
  local now = core.now()
  return now.sec * 1000 + now.usec / 1000
end

core.register_action("switchyard_hold", { "tcp-req" }, function(txn, backend, bound)
  local ends = milliseconds() + tonumber(bound)
  held = held + 1
  while txn.f:nbsrv(backend) == 0 and txn.req:may_recv() do
    local left = ends - milliseconds()
    if left <= 0 then
      break
    end
    -- The more wait, the more seldom each looks: a crowd costs about as much as
    -- a few, and does not fall upon the new master within one millisecond.
    core.msleep(math.max(1, math.floor(math.min(10 + held / 5, 50, left))))
  end
  held = held - 1
end, 2)
`
