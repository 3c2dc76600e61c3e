// Command figures runs the demo again and again, and writes what it measured as JSON: for each flavor and fault the
// median, the worst and all of the outages.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// figure is what the runs of one flavor and fault showed. Times are milliseconds.
type figure struct {
	Flavor   string             `json:"flavor"`
	Fault    string             `json:"fault"`
	SemiSync bool               `json:"semi_sync"`
	Runs     int                `json:"runs"`
	Median   float64            `json:"outage_ms_median"`
	Worst    float64            `json:"outage_ms_worst"`
	Outages  []float64          `json:"outages_ms"`
	Phases   map[string]float64 `json:"phases_ms_median"`
	// Proxies is how many there were, Confirmed* the time from "the new master is writable" until all of them were read back
	// to lead there.
	Proxies         int       `json:"proxies"`
	ConfirmedMedian float64   `json:"confirmed_ms_median"`
	ConfirmedWorst  float64   `json:"confirmed_ms_worst"`
	Confirmed       []float64 `json:"confirmed_ms"`
	Acked           int       `json:"acked"`
	// Broken and Refused are the errors that the applications of all runs saw: connections lost, attempts to connect failed.
	Broken  int `json:"broken"`
	Refused int `json:"refused"`
	Lost    int `json:"lost"`
}

// result is the part of the demo's last line that is counted.
type result struct {
	Proxies   int     `json:"proxies"`
	Confirmed float64 `json:"confirmed_ms"`
	Outage    float64 `json:"outage_ms"`
	Acked     int     `json:"acked"`
	Errors    struct {
		Broken  int `json:"broken"`
		Refused int `json:"refused"`
	} `json:"errors"`
	Lost   int                `json:"lost"`
	Phases map[string]float64 `json:"phases_ms"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	binary := flags.String("binary", "bin/switchyard", "the program that is measured")
	runs := flags.Int("runs", 10, "runs for each flavor and fault")
	flavors := flags.String("flavors", "mariadb,mysql", "comma separated")
	faults := flags.String("faults", "crash,switchover,freeze", "comma separated")
	semiSync := flags.Bool("semi-sync", false, "with semi-synchronous replication")
	proxies := flags.Int("proxies", 1, "how many HAProxies each run has")
	out := flags.String("out", "", "the file to write; standard output by default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *runs < 1 {
		return errors.New("-runs: want at least 1")
	}
	var all []figure
	for flavor := range strings.SplitSeq(*flavors, ",") {
		for fault := range strings.SplitSeq(*faults, ",") {
			args := []string{"demo", "--json", "--flavor", flavor, "--fault", fault, "--proxies", strconv.Itoa(*proxies)}
			if *semiSync {
				args = append(args, "--semi-sync")
			}
			f := figure{Flavor: flavor, Fault: fault, SemiSync: *semiSync, Runs: *runs, Proxies: *proxies}
			if err := f.measure(ctx, *binary, args, stderr); err != nil {
				return fmt.Errorf("%s %s: %w", flavor, fault, err)
			}
			all = append(all, f)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if *out != "" {
		return os.WriteFile(*out, text, 0o644)
	}
	_, err = stdout.Write(text)
	return err
}

func (f *figure) measure(ctx context.Context, binary string, args []string, progress io.Writer) error {
	f.Phases = map[string]float64{}
	phases := map[string][]float64{}
	for n := range f.Runs {
		r, err := once(ctx, binary, args)
		switch {
		case err != nil:
			return err
		case r.Proxies != f.Proxies || r.Confirmed < 0:
			return fmt.Errorf("of %d proxies, %d took part, confirmed after %.0f ms", f.Proxies, r.Proxies, r.Confirmed)
		}
		fmt.Fprintf(progress, "%s %s %d/%d: %.0f ms, %d lost, %d proxies confirmed after %.1f ms\n", f.Flavor, f.Fault, n+1, f.Runs,
			r.Outage, r.Lost, r.Proxies, r.Confirmed)
		f.Confirmed = append(f.Confirmed, r.Confirmed)
		f.Outages = append(f.Outages, r.Outage)
		f.Acked += r.Acked
		f.Lost += r.Lost
		f.Broken += r.Errors.Broken
		f.Refused += r.Errors.Refused
		for name, ms := range r.Phases {
			phases[name] = append(phases[name], ms)
		}
	}
	f.Median, f.Worst = median(f.Outages), slices.Max(f.Outages)
	f.ConfirmedMedian, f.ConfirmedWorst = median(f.Confirmed), slices.Max(f.Confirmed)
	for name, list := range phases {
		f.Phases[name] = median(list)
	}
	return nil
}

// once runs the demo; the last line of its standard output is the result.
func once(ctx context.Context, binary string, args []string) (result, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it cleans up behind itself
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout, stderr.Bytes())
	}
	last := ""
	for lines := bufio.NewScanner(bytes.NewReader(stdout)); lines.Scan(); {
		last = lines.Text()
	}
	var r result
	if err := json.Unmarshal([]byte(last), &r); err != nil {
		return r, fmt.Errorf("the last line is not the result: %q: %w", last, err)
	}
	return r, nil
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
