package sim_test

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// scheduler runs one thing at a time. Real code that wants something of the
// pretend world registers a call and parks; the scheduler waits until everybody
// is parked, begins what was registered in the order of the names, and lets
// events happen in the order of their times, all of which come from the seed.
// Thus the order in which the runtime runs goroutines decides nothing.
type scheduler struct {
	seed   uint64
	rng    *rand.Rand
	begun  time.Time
	events events
	count  uint64
	timer  *time.Timer
	wake   chan struct{}
	over   bool
	// inspect is called after every event.
	inspect func()

	mu    sync.Mutex
	calls []*call

	trace trace
}

// event is something that will happen to the world.
type event struct {
	at time.Time
	id uint64
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].id < e[j].id
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// call is one goroutine of real code that waits for the world.
type call struct {
	name string
	// site is where in the real code it comes from: two goroutines of one
	// controller may ask for the same at the same moment for different reasons.
	site   [24]uintptr
	merge  bool
	begin  func(*flight)
	done   chan struct{}
	result any
	err    error
	// left is true once its goroutine waits no more.
	left bool
}

// flight is a call under way. Calls of one controller that ask for the same at
// the same moment, from the same place in the code, cannot be told apart, and so
// share one.
type flight struct {
	s     *scheduler
	name  string
	calls []*call
	ended bool
}

// end gives the callers their answer.
func (f *flight) end(result any, err error) {
	if f.ended {
		return
	}
	f.ended = true
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	for _, c := range f.calls {
		if !c.left {
			c.result, c.err = result, err
			close(c.done)
		}
	}
}

// left reports whether nobody waits for the answer any more.
func (f *flight) left() bool {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return !slices.ContainsFunc(f.calls, func(c *call) bool { return !c.left })
}

func newScheduler(seed uint64, keep int) *scheduler {
	return &scheduler{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5eed)), begun: time.Now(), wake: make(chan struct{}, 1),
		timer: time.NewTimer(time.Hour), trace: trace{keep: keep, sum: fnv.New64a()},
	}
}

// register makes a call known; it does not wait.
func (s *scheduler) register(name string, merge bool, begin func(*flight)) *call {
	c := &call{name: name, merge: merge, begin: begin, done: make(chan struct{})}
	runtime.Callers(3, c.site[:])
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return c
}

// wait parks the caller until the world has answered, or its context ends.
func (s *scheduler) wait(ctx context.Context, c *call) (any, error) {
	select {
	case <-c.done:
		return c.result, c.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		c.left = true
		return nil, ctx.Err()
	}
}

// ask is register and wait.
func (s *scheduler) ask(ctx context.Context, name string, merge bool, begin func(*flight)) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.wait(ctx, s.register(name, merge, begin))
}

func (s *scheduler) now() time.Duration { return time.Since(s.begun) }

// after has something happen later. No two events share a moment with a timer
// of the real code, as far as a few random nanoseconds can see to it.
func (s *scheduler) after(d time.Duration, do func()) {
	s.count++
	jitter := time.Duration(s.rng.Int64N(1000))
	heap.Push(&s.events, event{at: time.Now().Add(max(0, d) + jitter), id: s.count, do: do})
}

// between is a random time.
func (s *scheduler) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)+1))
}

// chance is true with the probability p.
func (s *scheduler) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// run lets the world go on until it is over.
func (s *scheduler) run() {
	for !s.over {
		synctest.Wait()
		s.beginCalls()
		if len(s.events) == 0 {
			return
		}
		if pause := time.Until(s.events[0].at); pause > 0 {
			s.timer.Reset(pause)
			select {
			case <-s.timer.C:
			case <-s.wake:
			}
			continue
		}
		heap.Pop(&s.events).(event).do()
		s.inspect()
	}
}

// beginCalls begins what was registered since it was last called.
func (s *scheduler) beginCalls() {
	s.mu.Lock()
	calls := s.calls
	s.calls = nil
	s.mu.Unlock()
	slices.SortStableFunc(calls, func(a, b *call) int {
		return cmp.Or(strings.Compare(a.name, b.name), slices.Compare(a.site[:], b.site[:]))
	})
	for i := 0; i < len(calls); {
		f := &flight{s: s, name: calls[i].name, calls: calls[i : i+1 : i+1]}
		i++
		for i < len(calls) && calls[i].merge && calls[i].name == f.name && calls[i].site == f.calls[0].site {
			f.calls = append(f.calls, calls[i])
			i++
		}
		f.calls[0].begin(f)
	}
}

// trace is what happened, line by line. It keeps the last lines, and a sum over
// all of them.
type trace struct {
	keep  int
	lines []string
	sum   interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	count int
}

func (s *scheduler) note(format string, args ...any) {
	line := fmt.Sprintf("%11.6f ", s.now().Seconds()) + fmt.Sprintf(format, args...)
	_, _ = s.trace.sum.Write([]byte(line))
	s.trace.count++
	if s.trace.keep < 0 {
		s.trace.lines = append(s.trace.lines, line)
		return
	}
	if len(s.trace.lines) >= 2*s.trace.keep {
		s.trace.lines = append(s.trace.lines[:0], s.trace.lines[s.trace.keep:]...)
	}
	s.trace.lines = append(s.trace.lines, line)
}

// errLost is what a caller gets for a connection that broke.
var errLost = errors.New("the connection was lost")
