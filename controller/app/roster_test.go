package app

import (
	"slices"
	"testing"

	"switchyard/store/ledger"
)

// The leader keeps a directory until the controller that is added there is one.
func TestWhoIsAddedKeepsNoDirectoryYet(t *testing.T) {
	known := ledger.Controllers{Number: 1, Members: []ledger.Controller{
		{ID: "c1", DataCenter: "dc1", Voter: true}, {ID: "c4", DataCenter: "dc4"},
	}, Change: &ledger.ControllerChange{Kind: ledger.AddController, ID: "c4", New: true, Voter: true}}
	if got := keepers(known); !slices.Equal(got, []string{"dc1"}) {
		t.Error(got)
	}
	known.Change = nil
	if got := keepers(known); !slices.Equal(got, []string{"dc1", "dc4"}) {
		t.Error(got)
	}
}
