package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Report is all that the matrix measured.
type Report struct {
	Cells []Figure     `json:"cells,omitempty"`
	Gaps  []GapFigure  `json:"planned_switchovers,omitempty"`
	Rest  []RestFigure `json:"sidecars_at_rest,omitempty"`
}

// Figure is what one cell showed. Times are milliseconds.
type Figure struct {
	Cell    string `json:"cell"`
	Proxies int    `json:"proxies"`
	Clients int    `json:"clients"`
	// ConfirmedMS is the time from "the new master is writable" until all proxies were read back to lead there.
	ConfirmedMS float64 `json:"writable_to_confirmed_ms"`
	// RestartedMS is how long an HAProxy that was killed right after a crash led to nobody once it was back.
	RestartedMS float64 `json:"restarted_haproxy_told_ms,omitempty"`
	Verdict
}

// GapFigure is the longest write gap of each of some planned switchovers, where every application ends what it does within
// the drain bound, and the errors that they saw.
type GapFigure struct {
	Cell   string    `json:"cell"`
	Proxy  Proxy     `json:"proxy"`
	GapsMS []float64 `json:"gaps_ms"`
	Errors int       `json:"errors"`
}

// RestFigure is what one sidecar takes while nothing happens.
type RestFigure struct {
	Sidecar string `json:"sidecar"`
	// CPU is its share of one processor, in percent, over Seconds.
	CPU     float64 `json:"cpu_percent"`
	Seconds float64 `json:"seconds"`
	RSSKiB  int     `json:"rss_kib"`
}

// Write writes the report as JSON.
func (r Report) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Usage reads what a process has used of the processor, in seconds, and the memory that it holds.
func Usage(pid int) (seconds float64, rssKiB int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// After the name, which is in parentheses: the state is field 0, user and system time are 11 and 12, in hundredths.
	const user, system, tick = 11, 12, 100.0
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= system {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	for _, field := range fields[user : system+1] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		seconds += float64(n) / tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscanf(rest, "%d", &rssKiB); err != nil {
		return 0, 0, fmt.Errorf("/proc/%d/status: VmRSS: %w", pid, err)
	}
	return seconds, rssKiB, nil
}
