package fence_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/sidecar/fence"
)

// server is a pretend mysqld, its process and a session on it at once.
type server struct {
	said    []string
	reveals bool
	// readOnly and opens are what the next calls answer; the last stays.
	readOnly []error
	opens    []error
	left     int
	hangs    bool
	undead   bool
	refuses  error
	dead     chan struct{}
}

func newServer() *server {
	return &server{dead: make(chan struct{}), readOnly: []error{nil}, opens: []error{nil}}
}

func next(errs *[]error) error {
	err := (*errs)[0]
	if len(*errs) > 1 {
		*errs = (*errs)[1:]
	}
	return err
}

func (s *server) Open(ctx context.Context) (fence.Session, error) {
	s.said = append(s.said, "open")
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s, next(&s.opens)
}

func (s *server) SetReadOnly(context.Context) error {
	s.said = append(s.said, "read-only")
	return next(&s.readOnly)
}

func (s *server) EndClients(ctx context.Context) (int, int, error) {
	s.said = append(s.said, "cut")
	if s.left > 0 {
		<-ctx.Done()
		return 3, s.left, ctx.Err()
	}
	return 3, 0, nil
}

func (s *server) EndingReveals(context.Context) (bool, error) { return s.reveals, nil }
func (s *server) Close()                                      { s.said = append(s.said, "close") }
func (s *server) PID() int                                    { return 4711 }

func (s *server) Kill() error {
	s.said = append(s.said, "kill")
	if s.refuses == nil && !s.undead {
		close(s.dead)
	}
	return s.refuses
}

func (s *server) Wait(ctx context.Context) (fence.Exit, error) {
	select {
	case <-s.dead:
		return fence.Exit{Kind: fence.Killed, Status: 9}, nil
	case <-ctx.Done():
		return fence.Exit{}, ctx.Err()
	}
}

var errBlocked = errors.New("blocked")

func TestFence(t *testing.T) {
	const by = 500 * time.Millisecond
	for _, test := range []struct {
		name   string
		change func(*server)
		want   fence.Result
		said   string // the steps, those at the end that repeat left out
		took   time.Duration
		err    string
	}{
		{
			"clients first, read-only, and who came between", func(*server) {},
			fence.Result{Outcome: fence.ReadOnly, Ended: 6}, "open cut read-only cut close", 0, "",
		},
		{
			"read-only first where a cut would reveal", func(s *server) { s.reveals = true },
			fence.Result{Outcome: fence.ReadOnly, Ended: 3}, "open read-only cut close", 0, "",
		},
		{
			"clients that reconnect all the time", func(s *server) { s.left = 2 },
			fence.Result{Outcome: fence.ReadOnly, Ended: 6, Left: 2}, "open cut read-only cut close", 200 * time.Millisecond, "",
		},
		{
			"tried again", func(s *server) { s.opens, s.readOnly = []error{errBlocked, nil}, []error{errBlocked, nil} },
			fence.Result{Outcome: fence.ReadOnly, Ended: 6},
			"open open cut read-only close open cut read-only cut close", 40 * time.Millisecond, "",
		},
		{
			"blocked until the deadline", func(s *server) { s.readOnly = []error{errBlocked} },
			fence.Result{Outcome: fence.Ended, Killed: true, Why: "blocked", Ended: 3}, "open cut read-only close", by, "",
		},
		{
			"hangs", func(s *server) { s.hangs = true },
			fence.Result{Outcome: fence.Ended, Killed: true, Why: "context deadline exceeded"}, "open kill", by, "",
		},
		{
			"does not die", func(s *server) { s.hangs, s.undead = true, true },
			fence.Result{Why: "context deadline exceeded"}, "open kill", by + time.Second, "is not gone after 1s",
		},
		{
			"may not be killed", func(s *server) { s.hangs, s.refuses = true, errors.New("not permitted") },
			fence.Result{Why: "context deadline exceeded"}, "open kill", by, "kill process 4711: not permitted",
		},
		{
			"ends by itself", func(s *server) { s.hangs = true; close(s.dead) },
			fence.Result{Outcome: fence.Ended}, "open", 0, "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				test.change(s)
				begun := time.Now()
				got, err := fence.New(fence.Config{}, s, nil).Fence(t.Context(), s, begun.Add(by))
				if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("%+v, %v; want %+v, %q", got, err, test.want, test.err)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
				if !strings.HasPrefix(strings.Join(s.said, " "), test.said) {
					t.Errorf("%q, want %q", s.said, test.said)
				}
				if kills := slices.Contains(s.said, "kill"); kills != (test.want.Killed || test.err != "") {
					t.Errorf("%q", s.said)
				}
			})
		})
	}
}

// TestFenceThatIsCalledOff kills nobody.
func TestFenceThatIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.hangs = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := fence.New(fence.Config{}, s, nil).Fence(ctx, s, time.Now().Add(time.Minute))
		if !errors.Is(err, context.DeadlineExceeded) || slices.Contains(s.said, "kill") {
			t.Errorf("%v after %q", err, s.said)
		}
	})
}
