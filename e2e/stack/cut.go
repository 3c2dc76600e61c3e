package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// Cut drops what is sent to a loopback address: by those packets that match (iptables' words after -m), or, where nothing is
// said, by everybody, and what is sent from there too. The function that it returns ends the cut; calling it again does nothing.
func Cut(host string, match ...string) (mend func() error, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("loopback addresses are cut off with iptables: run this as root")
	}
	to := []string{"OUTPUT", "-p", "tcp", "-d", host}
	rules := [][]string{append(to[:len(to):len(to)], "-j", "DROP"), {"OUTPUT", "-p", "tcp", "-s", host, "-j", "DROP"}}
	if len(match) > 0 {
		rules = [][]string{append(append(append(to[:len(to):len(to)], "-m"), match...), "-j", "DROP")}
	}
	var done [][]string
	mend = sync.OnceValue(func() error {
		var failures []error
		for _, rule := range done {
			failures = append(failures, iptables("-D", rule))
		}
		return errors.Join(failures...)
	})
	for _, rule := range rules {
		if err := iptables("-A", rule); err != nil {
			return nil, errors.Join(err, mend())
		}
		done = append(done, rule)
	}
	return mend, nil
}

func iptables(action string, rule []string) error {
	if out, err := exec.Command("iptables", append([]string{"-w", action}, rule...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s %v: %w: %s", action, rule, err, out)
	}
	return nil
}
