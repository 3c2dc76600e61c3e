package admin

import "testing"

func TestDirection(t *testing.T) {
	for statement, want := range map[[3]string][2]string{
		{"LOAD", "TO", "RUNTIME"}:   {"memory", "runtime"},
		{"load", "to", "run"}:       {"memory", "runtime"},
		{"LOAD", "FROM", "MEMORY"}:  {"memory", "runtime"},
		{"LOAD", "FROM", "DISK"}:    {"disk", "memory"},
		{"LOAD", "TO", "MEM"}:       {"disk", "memory"},
		{"SAVE", "TO", "MEMORY"}:    {"runtime", "memory"},
		{"SAVE", "FROM", "RUNTIME"}: {"runtime", "memory"},
		{"SAVE", "TO", "DISK"}:      {"memory", "disk"},
		{"SAVE", "FROM", "MEMORY"}:  {"memory", "disk"},
		{"LOAD", "TO", "DISK"}:      {},
		{"SAVE", "TO", "RUNTIME"}:   {},
	} {
		from, to, ok := direction(statement[0], statement[1], statement[2])
		if from != want[0] || to != want[1] || ok != (want[0] != "") {
			t.Errorf("%v leads from %q to %q (%v), want %v", statement, from, to, ok, want)
		}
	}
}
