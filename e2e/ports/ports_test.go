package ports

import (
	"errors"
	"net"
	"strconv"
	"testing"
)

func TestOneTestHasAnAddress(t *testing.T) {
	var port int
	t.Run("first", func(t *testing.T) {
		address := Free(t, 1)[0]
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if port, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it can be bound, and bound again
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if err := listener.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := claim(t, port); err == nil {
			t.Errorf("%s belongs to two", got)
		}
	})
	if t.Failed() {
		return
	}
	if _, err := claim(t, port); err != nil {
		t.Errorf("it was not given back: %v", err)
	}
}

func TestWhatSomebodyListensAtIsNotGiven(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got, err := claim(t, listener.Addr().(*net.TCPAddr).Port); err == nil {
		t.Errorf("%s was given", got)
	}
}

func TestOutsideOfWhatTheSystemGives(t *testing.T) {
	for _, c := range []struct {
		text     string
		err      error
		from, to int
	}{
		{"32768\t60999\n", nil, 15000, 30000},
		{"20000 65535", nil, 15000, 20000},
		{"10000 60999", nil, 61000, 65536},
		{"10000 65535", nil, 2048, 10000},
		{"1024 65535", nil, 15000, 30000},
		{"1024 9999", nil, 15000, 30000},
		{"none", nil, 15000, 30000},
		{"", errors.New("no such file"), 15000, 30000},
	} {
		if from, to := outside([]byte(c.text), c.err); from != c.from || to != c.to {
			t.Errorf("%q: %d to %d, want %d to %d", c.text, from, to, c.from, c.to)
		}
	}
}
