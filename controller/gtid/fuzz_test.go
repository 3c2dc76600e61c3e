package gtid_test

import (
	"testing"

	"switchyard/controller/gtid"
)

func FuzzParseMySQL(f *testing.F) {
	for _, seed := range []string{
		"", ",", u1, u1 + ":1", u1 + ":1-5:7,\n" + u2 + ":3-4", u1 + ":tag:1-3", u1 + ":1-3:tag:5-7:_x:9",
		u1 + ":9223372036854775807", u1 + ":9223372036854775808", u1 + ":0", u1 + ":5-4", u1 + ": 1 - 2 ", u1 + ":a:b:1",
		u1 + ":1-9223372036854775807:2-3:t:1", "0-1-306",
	} {
		f.Add(seed, u1+":2-9:tag:2")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a, err := gtid.ParseMySQL(one)
		if err != nil {
			return
		}
		again, err := gtid.ParseMySQL(a.String())
		if err != nil || !again.Equal(a) || again.String() != a.String() {
			t.Fatalf("%q became %q: %v", a, again, err)
		}
		b, err := gtid.ParseMySQL(two)
		if err != nil {
			return
		}
		checkPair(t, a, b)
	})
}

func FuzzParseMariaDB(f *testing.F) {
	for _, seed := range []string{
		"", ",", "0-1-306", "0-1-306,0-2-306", "1-1-1,0-0-0", "0-1", "0-1-2-3",
		"4294967295-4294967295-18446744073709551615", "0-1-18446744073709551616", " 0-1-5 ,\n0-2-6",
	} {
		f.Add(uint32(1), seed, "0-1-300,0-3-400")
	}
	f.Fuzz(func(t *testing.T, own uint32, one, two string) {
		a, err := gtid.ParseMariaDB(own, one)
		if err != nil {
			return
		}
		again, err := gtid.ParseMariaDB(own, a.String())
		if err != nil || !again.Equal(a) || again.String() != a.String() {
			t.Fatalf("%q became %q: %v", a, again, err)
		}
		last, err := gtid.ParseMariaDB(own, a.Position())
		if err != nil || !a.Contains(last) || last.IsEmpty() != a.IsEmpty() {
			t.Fatalf("position %q of %q: %v", last, a, err)
		}
		b, err := gtid.ParseMariaDB(own+1, two)
		if err != nil {
			return
		}
		checkPair(t, a, b)
	})
}

func checkPair(t *testing.T, a, b gtid.Set) {
	t.Helper()
	if u := a.Union(b); !u.Contains(a) || !u.Contains(b) {
		t.Fatalf("%q union %q = %q does not contain both", a, b, u)
	}
	if rest := a.Subtract(b); rest.IsEmpty() != b.Contains(a) || !a.Contains(rest) {
		t.Fatalf("%q minus %q = %q", a, b, rest)
	}
	var back gtid.Set
	text, err := a.MarshalText()
	if err == nil {
		err = back.UnmarshalText(text)
	}
	if err != nil || !back.Equal(a) {
		t.Fatalf("%q came back as %q: %v", text, back, err)
	}
}
