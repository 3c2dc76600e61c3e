package probe

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// What keeps only us out is no trouble of the master: it would be failed over for
// a limit of our own account.
func TestOurOwnLimitIsNoTrouble(t *testing.T) {
	for number, want := range map[uint16]bool{
		1040: true, 1135: true, // too many connections; no thread for one more
		1203: false, 1226: false, // max_user_connections: for all accounts, of ours
		1045: false,
	} {
		err := fmt.Errorf("connect: %w", &mysql.MySQLError{Number: number, Message: "no"})
		if got := turnedAway(err); got != want {
			t.Errorf("%d: %v, want %v", number, got, want)
		}
	}
}
