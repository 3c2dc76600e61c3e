package invariants

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"switchyard/router/routes"
)

func TestSightingsAreJudged(t *testing.T) {
	seen := func(master string, number uint64) Sighting {
		return Sighting{Master: master, Epoch: routes.Epoch{Generation: 1, Number: number}}
	}
	for name, tc := range map[string]struct {
		sightings []Sighting
		want      string
	}{
		"nothing":               {nil, ""},
		"one after another":     {[]Sighting{seen("a", 1), seen("b", 2), seen("a", 3)}, ""},
		"the same, a new epoch": {[]Sighting{seen("a", 1), seen("a", 2)}, ""},
		"an older one":          {[]Sighting{seen("a", 1), seen("b", 2), seen("a", 1)}, "after b of epoch 1.2"},
		"two of an epoch":       {[]Sighting{seen("a", 1), seen("b", 1)}, "both a and b"},
		"nobody":                {[]Sighting{seen("", 1)}, `master ""`},
	} {
		got := strings.Join(JudgeSightings("reader", tc.sightings), "\n")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestConsumerReads(t *testing.T) {
	answers := []string{`[{"Key":"p/shop","Value":"YToz"},{"Key":"p/shop/epoch","Value":"MS4y"}]`, `rubbish`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[0]
		if r.URL.Query().Has("consistent") {
			answer = answers[1]
		}
		_, _ = fmt.Fprint(w, answer)
	}))
	defer server.Close()
	got, err := NewConsumer("r", server.URL, "p/shop", false, nil).read(t.Context())
	if err != nil || got.Master != "a:3" || got.Epoch.String() != "1.2" || time.Since(got.At) > time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := NewConsumer("r", server.URL, "p/shop", true, nil).read(t.Context()); err == nil {
		t.Error("rubbish was read")
	}
}
