package verbs_test

import (
	"strings"
	"testing"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/verbs"
)

// TestLocalWantsItsSocket: without it, it would act on whoever has the address.
func TestLocalWantsItsSocket(t *testing.T) {
	name := topology.Key{Host: "127.0.0.1", Port: 3306}
	if _, err := verbs.New(verbs.Config{}, nil).OpenLocal(t.Context(), name); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("%v", err)
	}
	_, err := verbs.New(verbs.Config{Socket: t.TempDir() + "/s"}, nil).OpenLocal(t.Context(), name)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}
