package matrix

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Execution is one row of the application's table as one server has it.
type Execution struct {
	Token
	// On is who has the row, By who executed it, and At when, by that server's clock.
	On, By uint32
	At     time.Time
}

// Change is one change of the master.
type Change struct {
	Old, New uint32
	Planned  bool
	// Begun is when the recovery was claimed; no error of before is one of its.
	Begun time.Time
	// Withdrawn is when the last step ended that took the old master out of the proxies, Promoting when the one began that made
	// the new one writable, Writable when it had, and Confirmed when all proxies were read back to lead there.
	Withdrawn, Promoting, Writable, Confirmed time.Time
}

// Evidence is all that a judgement rests on.
type Evidence struct {
	Clients  []Client
	Writes   []Write
	Failures []Failure
	// Executions are the rows of all servers.
	Executions []Execution
	Change     Change
}

// Verdict is the outcome.
type Verdict struct {
	// Violations are sentences, each about one thing that must never happen and did.
	Violations []string `json:"violations,omitempty"`
	// Late counts what the old master executed after the new one's promotion had begun and nobody was told was done: it was under
	// way there when a frozen or cut-off master went out of reach.
	Late int `json:"executed_late"`
	// Lost counts what was acknowledged and the new master does not have.
	Lost int `json:"lost"`
	// Errors counts, for each kind of proxy and habit, the errors since the change began.
	Errors map[Proxy]map[Habit]int `json:"errors"`
	// Refused are attempts to connect that nobody took, and Greeting those that ended before anybody was signed in.
	Refused  map[Proxy]int `json:"refused"`
	Greeting map[Proxy]int `json:"ended_in_greeting"`
	// GapMS is, for each kind of proxy, the longest time without an acknowledged write through it.
	GapMS map[Proxy]float64 `json:"gap_ms"`
	Acked int               `json:"acked"`
}

// maxTold is how many violations of one kind are told.
const maxTold = 5

func (v *Verdict) violate(kind string, list []string) {
	for i, text := range list {
		if i == maxTold {
			v.Violations = append(v.Violations, fmt.Sprintf("%s: and %d more", kind, len(list)-maxTold))
			return
		}
		v.Violations = append(v.Violations, kind+": "+text)
	}
}

// Judge decides. It is a pure function of the evidence.
func Judge(e Evidence) Verdict {
	v := Verdict{Errors: map[Proxy]map[Habit]int{}, Refused: map[Proxy]int{}, Greeting: map[Proxy]int{},
		GapMS: Gaps(e.Clients, e.Writes, e.Change.Begun)}
	by := map[Token][]Execution{}
	for _, x := range e.Executions {
		by[x.Token] = append(by[x.Token], x)
	}
	v.judgeTwice(by)
	v.judgeOld(e, by)
	v.judgeLoss(e, by)
	v.countErrors(e)
	if e.Change.Planned {
		v.judgePlanned(e)
	}
	return v
}

// judgeTwice holds that a token has one row on each server, and one origin on all of them.
func (v *Verdict) judgeTwice(by map[Token][]Execution) {
	var list []string
	for token, rows := range by {
		seen := map[uint32]bool{}
		for _, x := range rows {
			if seen[x.On] {
				list = append(list, fmt.Sprintf("%v has two rows on server %d", token, x.On))
			}
			seen[x.On] = true
			if x.By != rows[0].By || !x.At.Equal(rows[0].At) {
				list = append(list, fmt.Sprintf("%v was executed by server %d at %s and by server %d at %s", token,
					rows[0].By, clock(rows[0].At), x.By, clock(x.At)))
			}
		}
	}
	slices.Sort(list)
	v.violate("executed twice", slices.Compact(list))
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

// judgeOld holds that nothing succeeds on the old master any more: nothing that was sent after it was withdrawn was executed
// there; nothing that it executed after the promotion had begun was acknowledged; and, unless it was out of reach, it executed
// nothing at all by then.
func (v *Verdict) judgeOld(e Evidence, by map[Token][]Execution) {
	var sent, acked []string
	for _, w := range e.Writes {
		for _, x := range by[w.Token] {
			if x.By != e.Change.Old || x.On != e.Change.Old {
				continue
			}
			late := x.At.After(e.Change.Promoting)
			switch {
			case w.Sent.After(e.Change.Withdrawn):
				sent = append(sent, fmt.Sprintf("%v was sent at %s, after the withdrawal at %s", w.Token, clock(w.Sent), clock(e.Change.Withdrawn)))
			case late && w.Acked:
				acked = append(acked, fmt.Sprintf("%v was executed at %s, after the promotion began at %s, and acknowledged", w.Token,
					clock(x.At), clock(e.Change.Promoting)))
			case late:
				v.Late++
			}
		}
	}
	v.violate("the old master executed", sent)
	v.violate("the old master acknowledged", acked)
	if e.Change.Planned && v.Late > 0 {
		v.Violations = append(v.Violations, fmt.Sprintf("the old master executed %d writes after the promotion of a planned switchover had begun", v.Late))
	}
}

// judgeLoss holds that a planned change loses nothing, and no change anything that was sent after the withdrawal.
func (v *Verdict) judgeLoss(e Evidence, by map[Token][]Execution) {
	var list []string
	for _, w := range e.Writes {
		if !w.Acked {
			continue
		}
		v.Acked++
		if slices.ContainsFunc(by[w.Token], func(x Execution) bool { return x.On == e.Change.New }) {
			continue
		}
		v.Lost++
		if e.Change.Planned || w.Sent.After(e.Change.Withdrawn) {
			list = append(list, fmt.Sprintf("%v, sent at %s, is not on server %d", w.Token, clock(w.Sent), e.Change.New))
		}
	}
	v.violate("acknowledged and lost", list)
}

func (v *Verdict) countErrors(e Evidence) {
	for _, f := range e.Failures {
		who := e.Clients[f.Client-1]
		if v.Errors[who.Door.Proxy] == nil {
			v.Errors[who.Door.Proxy] = map[Habit]int{}
		}
		v.Errors[who.Door.Proxy][who.Habit]++
		switch f.Stage {
		case Refused:
			v.Refused[who.Door.Proxy]++
		case Greeting:
			v.Greeting[who.Door.Proxy]++
		}
	}
}

// judgePlanned holds a planned switchover to what is promised of it. Through HAProxy nobody is refused, and whoever has an open
// connection sees one error; somebody who reconnects all the time may have none open. Through ProxySQL whoever is tied to its
// server for longer than the drain bound sees one error, and nobody else any.
func (v *Verdict) judgePlanned(e Evidence) {
	seen := map[int64][]Failure{}
	var list []string
	for _, f := range e.Failures {
		seen[f.Client] = append(seen[f.Client], f)
		if f.Stage == Refused {
			list = append(list, fmt.Sprintf("%s was refused: %s", e.Clients[f.Client-1], f.Text))
		}
	}
	for _, who := range e.Clients {
		least, most := expected(who)
		if got := len(seen[who.Number]); got < least || got > most {
			list = append(list, fmt.Sprintf("%s saw %d errors, want %d to %d: %v", who, got, least, most, texts(seen[who.Number])))
		}
	}
	v.violate("a planned switchover", list)
}

// expected is how many errors a client sees in a planned switchover.
func expected(who Client) (least, most int) {
	switch {
	case who.Door.Proxy == HAProxy && who.Habit == Reconnecting:
		return 0, 1
	case who.Door.Proxy == HAProxy, who.Habit.Lasting(), who.Habit == Pinned:
		return 1, 1
	}
	return 0, 0
}

func texts(failures []Failure) (list []string) {
	for _, f := range failures {
		list = append(list, fmt.Sprintf("%s %s: %s", clock(f.At), f.Stage, f.Text))
	}
	return list
}

// Gaps finds the longest time, in milliseconds, between two acknowledgements through each kind of proxy, from a moment on.
func Gaps(clients []Client, all []Write, from time.Time) map[Proxy]float64 {
	writes := slices.DeleteFunc(slices.Clone(all), func(w Write) bool { return !w.Acked })
	slices.SortFunc(writes, func(a, b Write) int { return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Client, b.Client)) })
	gaps, last := map[Proxy]float64{}, map[Proxy]time.Time{}
	for _, w := range writes {
		proxy := clients[w.Client-1].Door.Proxy
		if before, ok := last[proxy]; ok && w.Ended.After(from) {
			gaps[proxy] = max(gaps[proxy], float64(w.Ended.Sub(before).Microseconds())/1000)
		}
		last[proxy] = w.Ended
	}
	return gaps
}
