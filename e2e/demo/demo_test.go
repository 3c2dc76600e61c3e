package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestOptionsAreChecked(t *testing.T) {
	for _, flavor := range Flavors() {
		for _, fault := range Faults() {
			if err := (Options{Flavor: flavor, Fault: fault}).Validate(); err != nil {
				t.Errorf("%s %s: %v", flavor, fault, err)
			}
		}
	}
	for _, test := range []struct {
		options Options
		names   string
	}{
		{Options{Flavor: "oracle", Fault: "crash"}, `--flavor "oracle": use mariadb or mysql`},
		{Options{Flavor: "mariadb", Fault: "fire"}, `--fault "fire": use crash, freeze, switchover`},
		{Options{}, "--flavor"},
	} {
		var stdout, stderr bytes.Buffer
		err := Run(context.Background(), test.options, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%+v ended with %v, want an error that says %s", test.options, err, test.names)
		}
		if stdout.Len()+stderr.Len() > 0 {
			t.Errorf("%+v: something was begun: %q %q", test.options, stdout.String(), stderr.String())
		}
	}
}

func TestResultIsOneLine(t *testing.T) {
	var out bytes.Buffer
	result := Result{Flavor: "mysql", PhasesMS: map[string]float64{"see": 1.5}, Violations: []string{}}
	if err := result.write(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%q is not one line", out.String())
	}
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flavor", "fault", "outage_ms", "acked", "lost", "phases_ms", "epoch_before", "epoch_after",
		"old_master", "new_master"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("the result has no %s: %s", name, out.String())
		}
	}
}

func TestViolationsFailTheDemo(t *testing.T) {
	if err := (Result{}).failure(); err != nil {
		t.Errorf("a clean result failed: %v", err)
	}
	err := Result{Violations: []string{"two masters"}}.failure()
	if err == nil || !strings.Contains(err.Error(), "two masters") {
		t.Errorf("a violation ended with %v", err)
	}
}

func TestPhasesComeInTheirOrder(t *testing.T) {
	var out bytes.Buffer
	told := teller{out: &out}
	told.phases(map[string]float64{"zeal": 1, "announce": 4, "notice": 1, "extra": 2, "claim": 3})
	var names []string
	for _, word := range strings.Fields(out.String()) {
		if strings.Trim(word, "0123456789") == word && word != "ms" && word != "phases:" {
			names = append(names, word)
		}
	}
	if want := []string{"notice", "claim", "announce", "extra", "zeal"}; !slices.Equal(names, want) {
		t.Errorf("order %v, want %v", names, want)
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) {
	b.writes++
	return 0, errors.New("broken pipe")
}

func TestFirstFailureToWriteIsKept(t *testing.T) {
	pipe := &brokenPipe{}
	told := teller{out: pipe}
	told.print("one\n")
	told.print("two\n")
	if told.err == nil || pipe.writes != 1 {
		t.Errorf("error %v after %d writes, want one write and its error", told.err, pipe.writes)
	}
}
