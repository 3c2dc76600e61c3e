package together

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// Report is all that was measured.
type Report struct {
	Outages     []OutageFigure     `json:"crash_of_the_master_together_with"`
	Successions []SuccessionFigure `json:"leader_is_gone"`
}

// Spread is a number of measurements, in milliseconds.
type Spread struct {
	Runs   int       `json:"runs"`
	Median float64   `json:"ms_median"`
	Min    float64   `json:"ms_min"`
	Max    float64   `json:"ms_max"`
	All    []float64 `json:"ms"`
}

// OutageFigure is what the application saw of some crashes.
type OutageFigure struct {
	Beside Beside `json:"beside"`
	Spread
	// TimesPlain is the median as a multiple of that of the plain crash, in the same run; 0 where there was none.
	TimesPlain float64 `json:"times_the_plain_crash"`
	Lost       int     `json:"lost"`
	// Outcomes counts how the recoveries ended.
	Outcomes map[string]int `json:"outcomes"`
	// Phases are the medians of the recoveries' phases.
	Phases map[string]float64 `json:"phases_ms_median"`
}

// SuccessionFigure is how long it took until another controller had taken office.
type SuccessionFigure struct {
	Gone Gone `json:"leader"`
	Spread
}

// NewSpread sums measurements up.
func NewSpread(all []time.Duration) Spread {
	s := Spread{Runs: len(all), All: []float64{}}
	for _, d := range all {
		s.All = append(s.All, milliseconds(d))
	}
	if len(all) > 0 {
		s.Median, s.Min, s.Max = median(s.All), slices.Min(s.All), slices.Max(s.All)
	}
	return s
}

// Outages sums up the crashes of each kind, in their order.
func Outages(seen map[Beside][]Outage) []OutageFigure {
	var out []OutageFigure
	plain := 0.0
	for _, beside := range All() {
		if len(seen[beside]) == 0 {
			continue
		}
		f := OutageFigure{Beside: beside, Outcomes: map[string]int{}, Phases: map[string]float64{}}
		var longest []time.Duration
		phases := map[string][]float64{}
		for _, o := range seen[beside] {
			longest = append(longest, o.Longest)
			f.Lost += o.Lost
			f.Outcomes[string(o.Recovery.Outcome)]++
			for name, ms := range o.Recovery.Phases {
				phases[name] = append(phases[name], ms)
			}
		}
		f.Spread = NewSpread(longest)
		for name := range maps.Keys(phases) {
			f.Phases[name] = median(phases[name])
		}
		if beside == Nothing {
			plain = f.Median
		}
		if plain > 0 {
			f.TimesPlain = f.Median / plain
		}
		out = append(out, f)
	}
	return out
}

// Write writes the report as JSON.
func (r Report) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
