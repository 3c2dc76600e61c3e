// Package scenario judges worlds drawn as text and compares what the judging
// packages say of them with what was recorded. It is a test only.
//
// A scenario is a file in testdata: a comment that says what it shows, the
// world as package sketch reads it, lines that begin with policy, rule, history
// or ask, then a line of three dashes, then what must come out:
//
//	# The master crashed, and no replica receives.
//	server m  exec=0-1-100
//	server r1 <m io=Connecting exec=0-1-100
//	view   c1 m=refused r1=ok
//	policy controllers=1 max-lag=10s
//	rule   r1 must
//	history last-failover=9m
//	---
//
// A line that begins with ask is "ask switchover", "ask switchover NAME" or
// "ask force"; without one, what is judged is what is wrong.
//
// `go test ./controller/scenario -record` writes the lower part anew; what
// changed is to be read before it is committed.
//
// Scenarios come in pairs: NAME.txt shows something, and NAME-miss.txt is its
// nearest miss, in which one fact is different. The test holds that every
// finding, every warning and every reason to hold has such a pair.
package scenario
