package protocol

import (
	"strings"
	"testing"
)

func tailSamples() map[string]any {
	return map[string]any{
		"tail": Tail{Controller: "ctl-1", Cluster: "shop", Server: "db-a:3306", Flavor: MySQL,
			Holds: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:backup:1", Token: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", ForMS: 2000},
		"tail-mariadb": Tail{Controller: "ctl-1", Cluster: "shop", Server: "db-a:3306", Flavor: MariaDB, Holds: "0-1-5", Own: 2,
			Token: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", ForMS: 2000},
		"tail-reply": TailReply{Who: who(), Port: 3308, Set: "0-1-7", Count: 2, Bytes: 412},
		"tail-reply-none": TailReply{Who: who(), Port: 3308, Restarted: true,
			Problem: "binlog.000002: at byte 4711 the checksum does not fit, and what comes after that is not read"},
	}
}

func TestBadMessagesOfTheTailAreRefusedByName(t *testing.T) {
	ask := func(change func(*Tail)) any {
		m := tailSamples()["tail"].(Tail)
		change(&m)
		return m
	}
	reply := func(change func(*TailReply)) any {
		m := tailSamples()["tail-reply"].(TailReply)
		change(&m)
		return m
	}
	for want, message := range map[string]any{
		"controller is missing": ask(func(m *Tail) { m.Controller = "" }),
		"cluster is missing":    ask(func(m *Tail) { m.Cluster = "" }),
		"want HOST:PORT":        ask(func(m *Tail) { m.Server = "db" }),
		"flavor is":             ask(func(m *Tail) { m.Flavor = "postgres" }),
		"holds has the char":    ask(func(m *Tail) { m.Holds = "0-1-5\n" }),
		"holds has 49153 bytes": ask(func(m *Tail) { m.Holds = strings.Repeat("x", maxSet+1) }),
		"token is too short":    ask(func(m *Tail) { m.Token = "guess" }),
		"for_ms is 0":           ask(func(m *Tail) { m.ForMS = 0 }),
		"port is 0":             reply(func(m *TailReply) { m.Port = 0 }),
		"count is 0":            reply(func(m *TailReply) { m.Count = 0 }),
		"count is 2, with":      reply(func(m *TailReply) { m.Set = "" }),
		"problem has":           reply(func(m *TailReply) { m.Problem = strings.Repeat("x", maxDetail+1) }),
	} {
		if _, err := encode(message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", message, err, want)
		}
	}
}

// Both sides make the same account, and another token or secret another one.
func TestTailAccount(t *testing.T) {
	user, password := TailAccount("s3cret", "db-a:3306", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if user != "switchyard-tail-3306-ABCDEFGHIJ" || len(password) != 32 {
		t.Errorf("%q, %d bytes", user, len(password))
	}
	for _, other := range [][2]string{{"s3cret", "ABCDEFGHIJKLMNOPQRSTUVWXYA"}, {"s3cres", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}} {
		if _, again := TailAccount(other[0], "db-a:3306", other[1]); again == password {
			t.Errorf("%q makes the same", other)
		}
	}
}
