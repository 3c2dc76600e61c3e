package dialect

import "testing"

// Who takes a crashed server's tail is shown as that server's own replica.
func TestTailOf(t *testing.T) {
	for user, want := range map[string]uint16{
		"switchyard-tail-3306-ABCDEFGHIJ": 3306, "switchyard-tail-1-": 1,
		"switchyard-tail-3306": 0, "switchyard-tail-x-A": 0, "switchyard-tail-70000-A": 0, "repl": 0, "": 0,
	} {
		if port, tail := tailOf(user); tail != (want > 0) || tail && port != want {
			t.Errorf("%q: %d, %t", user, port, tail)
		}
	}
}
