//go:build !linux

package tail

import "errors"

// Running is known on Linux only.
func Running(string) (bool, error) {
	return false, errors.New("whether a server runs is known on Linux only")
}
