package gtid_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"switchyard/controller/gtid"
)

const (
	u1 = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	u2 = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
)

func mysql(t testing.TB, text string) gtid.Set {
	t.Helper()
	s, err := gtid.ParseMySQL(text)
	if err != nil {
		t.Fatalf("ParseMySQL(%q): %v", text, err)
	}
	return s
}

func mariadb(t testing.TB, own uint32, lists ...string) gtid.Set {
	t.Helper()
	s, err := gtid.ParseMariaDB(own, lists...)
	if err != nil {
		t.Fatalf("ParseMariaDB(%d, %q): %v", own, lists, err)
	}
	return s
}

func TestParseMySQL(t *testing.T) {
	for _, tc := range []struct {
		name, text, want string
		count            uint64
	}{
		{"nothing", "", "", 0},
		{"only blanks", " \n,\n ", "", 0},
		{"one transaction", u1 + ":5", u1 + ":5", 1},
		{"as the server prints several", u2 + ":1-3,\n" + u1 + ":1-5:7", u1 + ":1-5:7," + u2 + ":1-3", 9},
		{"upper case", strings.ToUpper(u1) + ":1-5", u1 + ":1-5", 5},
		{"adjacent", u1 + ":1-3:4:5-6", u1 + ":1-6", 6},
		{"overlapping, out of order, repeated", u1 + ":8-12:1-3:2-9," + u1 + ":20", u1 + ":1-12:20", 13},
		{"inside another", u1 + ":1-100:5-6:101", u1 + ":1-101", 101},
		{"one long interval as 1-1", u1 + ":1-1", u1 + ":1", 1},
		{"tag", u1 + ":Blue:1-3", u1 + ":blue:1-3", 3},
		{"tag sticks", u1 + ":1-3:tag:5-7:9", u1 + ":1-3:tag:5-7:9", 7},
		{"two tags", u1 + ":b:1:a:2-3," + u1 + ":5", u1 + ":5:a:2-3:b:1", 4},
		{"as MySQL 9.7 answers it (in one line)", u1 + ":1-3:tag:5-7:9," + strings.ToUpper(u1) + ":B:1:a:2," + u2 + ": 1 - 2 ,,",
			u1 + ":1-3:a:2:b:1:tag:5-7:9," + u2 + ":1-2", 11},
		{"tag of the longest length", u1 + ":" + strings.Repeat("a", 32) + ":1", u1 + ":" + strings.Repeat("a", 32) + ":1", 1},
		{"tag like a number", u1 + ":_1:1", u1 + ":_1:1", 1},
		{"blanks within", " " + u1 + " : 1 - 3 : tag : 5 ", u1 + ":1-3:tag:5", 4},
		{"largest", u1 + ":9223372036854775807", u1 + ":9223372036854775807", 1},
		{"more than can be counted", u1 + ":1-9223372036854775807:a:1-9223372036854775807:b:1-9223372036854775807",
			u1 + ":1-9223372036854775807:a:1-9223372036854775807:b:1-9223372036854775807", math.MaxUint64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mysql(t, tc.text)
			if got := s.String(); got != tc.want {
				t.Errorf("String() = %q, want %q", got, tc.want)
			}
			if got := s.Position(); got != tc.want {
				t.Errorf("Position() = %q, want %q", got, tc.want)
			}
			if got := s.Count(); got != tc.count {
				t.Errorf("Count() = %d, want %d", got, tc.count)
			}
			if s.IsEmpty() != (tc.want == "") {
				t.Errorf("IsEmpty() = %v for %q", s.IsEmpty(), tc.want)
			}
		})
	}
}

func TestParseMySQLRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"no interval", u1, "no interval"},
		{"empty interval", u1 + ":", "want FIRST-LAST"},
		{"short uuid", "3e11fa47:1-5", "8-4-4-4-12"},
		{"no digit", "zz" + u1[2:] + ":1", "8-4-4-4-12"},
		{"dash in a wrong place", "3e11fa4-771ca-11e1-9e33-c80aa9429562:1", "8-4-4-4-12"},
		{"zero", u1 + ":0", "start at 1"},
		{"zero start", u1 + ":0-5", "start at 1"},
		{"ends before it starts", u1 + ":5-4", "ends before it starts"},
		{"negative", u1 + ":-5", "want FIRST-LAST"},
		{"open end", u1 + ":5-", "want FIRST-LAST"},
		{"three ends", u1 + ":1-2-3", "want FIRST-LAST"},
		{"2^63", u1 + ":9223372036854775808", "below 2^63"},
		{"2^64", u1 + ":1-18446744073709551616", "below 2^63"},
		{"tag without interval", u1 + ":1:tag", "tag tag has no interval"},
		{"tag upon tag", u1 + ":a:b:1", "tag a has no interval"},
		{"tag too long", u1 + ":" + strings.Repeat("a", 33) + ":1", "want FIRST-LAST"},
		{"tag with a dash", u1 + ":a-b:1", "want FIRST-LAST"},
		{"MariaDB's", "0-1-306", "8-4-4-4-12"},
		{"too big", strings.Repeat(" ", gtid.MaxText+1), "at most 16777216"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := gtid.ParseMySQL(tc.text)
			if err == nil {
				t.Fatalf("accepted as %q", s)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
			if len(err.Error()) > 400 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			if !s.IsEmpty() {
				t.Errorf("partial result %q", s)
			}
		})
	}
}

func TestParseMariaDB(t *testing.T) {
	for _, tc := range []struct {
		name           string
		own            uint32
		lists          []string
		want, position string
		count          uint64
	}{
		{"nothing", 0, nil, "", "", 0},
		{"empty lists", 7, []string{"", " "}, "", "", 0},
		{"one", 1, []string{"0-1-306"}, "0-1-306", "0-1-306", 1},
		{"binlog state and slave position", 2, []string{"0-2-5,0-1-306", "0-1-310"}, "0-1-310,0-2-5", "0-1-310", 2},
		{"domains", 1, []string{"10-3-7,1-1-9", "0-2-2,\n0-1-1"}, "0-1-1,0-2-2,1-1-9,10-3-7", "0-2-2,1-1-9,10-3-7", 4},
		{"highest of a server", 1, []string{"0-1-5,0-1-9,0-1-7"}, "0-1-9", "0-1-9", 1},
		{"own wins a tie", 1, []string{"0-1-306,0-2-306,0-3-306"}, "0-1-306,0-2-306,0-3-306", "0-1-306", 3},
		{"own wins a tie from behind", 3, []string{"0-1-306,0-2-306,0-3-306"}, "0-1-306,0-2-306,0-3-306", "0-3-306", 3},
		{"a tie of others", 9, []string{"0-2-306,0-1-306"}, "0-1-306,0-2-306", "0-2-306", 2},
		{"before the first", 1, []string{"0-1-0"}, "", "", 0},
		{"largest", 4294967295, []string{"4294967295-4294967295-18446744073709551615"},
			"4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mariadb(t, tc.own, tc.lists...)
			if got := s.String(); got != tc.want {
				t.Errorf("String() = %q, want %q", got, tc.want)
			}
			if got := s.Position(); got != tc.position {
				t.Errorf("Position() = %q, want %q", got, tc.position)
			}
			if got := s.Count(); got != tc.count {
				t.Errorf("Count() = %d, want %d", got, tc.count)
			}
			if s.Own() != tc.own {
				t.Errorf("Own() = %d, want %d", s.Own(), tc.own)
			}
			if s.IsEmpty() != (tc.want == "") {
				t.Errorf("IsEmpty() = %v for %q", s.IsEmpty(), tc.want)
			}
		})
	}
}

func TestParseMariaDBRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"two parts", "0-1", "want DOMAIN-SERVER-SEQUENCE"},
		{"four parts", "0-1-2-3", "sequence"},
		{"domain", "x-1-2", "domain"},
		{"domain too large", "4294967296-1-2", "domain"},
		{"server", "0--2", "server"},
		{"server too large", "0-4294967296-2", "server"},
		{"sequence", "0-1-", "sequence"},
		{"sequence too large", "0-1-18446744073709551616", "sequence"},
		{"sign", "0-1-+5", "sequence"},
		{"MySQL's", u1 + ":1-5", "domain"},
		{"too big", strings.Repeat(",", gtid.MaxText+1), "at most 16777216"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := gtid.ParseMariaDB(1, "0-1-1", tc.text)
			if err == nil {
				t.Fatalf("accepted as %q", s)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
			if !s.IsEmpty() {
				t.Errorf("partial result %q", s)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	my := func(text string) gtid.Set { return mysql(t, text) }
	ma := func(own uint32, lists ...string) gtid.Set { return mariadb(t, own, lists...) }
	for _, tc := range []struct {
		name string
		a, b gtid.Set
		want gtid.Relation
	}{
		{"both empty", gtid.Set{}, gtid.Set{}, gtid.RelationEqual},
		{"empty of any flavor", ma(5), my(""), gtid.RelationEqual},
		{"something and nothing", my(u1 + ":1"), gtid.Set{}, gtid.RelationAhead},
		{"nothing and something", ma(1), ma(1, "0-1-1"), gtid.RelationBehind},
		{"flavors", my(u1 + ":1"), ma(1, "0-1-1"), gtid.RelationDiverged},
		{"same", my(u1 + ":1-3:5"), my(u1 + ":5:1:2-3"), gtid.RelationEqual},
		{"ahead", my(u1 + ":1-9," + u2 + ":1"), my(u1 + ":2-8"), gtid.RelationAhead},
		{"behind by one", my(u1 + ":1-8"), my(u1 + ":1-9"), gtid.RelationBehind},
		{"errant", my(u1 + ":1-9," + u2 + ":1"), my(u1 + ":1-10"), gtid.RelationDiverged},
		{"a tag is another numbering", my(u1 + ":1-3"), my(u1 + ":a:1-3"), gtid.RelationDiverged},
		{"a hole", my(u1 + ":1-3:5-9"), my(u1 + ":3-5"), gtid.RelationDiverged},

		{"same number, other server", ma(1, "0-1-306"), ma(2, "0-2-306"), gtid.RelationDiverged},
		{"own transaction below the other's last", ma(1, "0-1-400"), ma(2, "0-1-300,0-2-301"), gtid.RelationDiverged},
		{"replica behind", ma(1, "0-1-306"), ma(2, "0-1-300"), gtid.RelationAhead},
		{"clone lacks an old master", ma(3, "0-2-400"), ma(4, "0-1-306,0-2-390"), gtid.RelationAhead},
		{"clone lacks an old master, both at the end", ma(3, "0-2-400"), ma(4, "0-1-306,0-2-400"), gtid.RelationEqual},
		{"history needs a higher last", ma(3, "0-2-306"), ma(4, "0-1-306"), gtid.RelationDiverged},
		{"history is of the same domain", ma(3, "1-2-400"), ma(4, "0-1-306"), gtid.RelationDiverged},
		{"known entries are no history", ma(3, "0-1-305,0-2-400"), ma(4, "0-1-306,0-2-400"), gtid.RelationBehind},
		{"who wrote is unknown", ma(3, "0-2-400"), ma(0, "0-1-306"), gtid.RelationDiverged},
		{"domains apart", ma(1, "0-1-5,1-1-9"), ma(2, "0-1-6,1-1-8"), gtid.RelationDiverged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := gtid.Compare(tc.a, tc.b); got != tc.want {
				t.Errorf("Compare(%q, %q) = %s, want %s", tc.a, tc.b, got, tc.want)
			}
			back := map[gtid.Relation]gtid.Relation{
				gtid.RelationAhead: gtid.RelationBehind, gtid.RelationBehind: gtid.RelationAhead,
				gtid.RelationEqual: gtid.RelationEqual, gtid.RelationDiverged: gtid.RelationDiverged,
			}[tc.want]
			if got := gtid.Compare(tc.b, tc.a); got != back {
				t.Errorf("Compare(%q, %q) = %s, want %s", tc.b, tc.a, got, back)
			}
		})
	}
}

func TestUnionOfFlavors(t *testing.T) {
	my, ma := mysql(t, u1+":1"), mariadb(t, 1, "0-1-1")
	for _, tc := range []struct {
		name    string
		a, b    gtid.Set
		want    string
		wantOwn uint32
	}{
		{"the receiver", my, ma, u1 + ":1", 0},
		{"the receiver, other way", ma, my, "0-1-1", 1},
		{"zero and MySQL", gtid.Set{}, my, u1 + ":1", 0},
		{"MariaDB and zero", ma, gtid.Set{}, "0-1-1", 1},
		{"empty MariaDB and MySQL", mariadb(t, 4), my, u1 + ":1", 0},
		{"empty MariaDB and zero", mariadb(t, 4), gtid.Set{}, "", 4},
		{"zero and empty MariaDB", gtid.Set{}, mariadb(t, 4), "", 4},
		{"own is kept", mariadb(t, 4), ma, "0-1-1", 4},
		{"own is learnt", mariadb(t, 0, "0-2-2"), ma, "0-1-1,0-2-2", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.a.Union(tc.b)
			if got.String() != tc.want || got.Own() != tc.wantOwn {
				t.Errorf("got %q of %d, want %q of %d", got, got.Own(), tc.want, tc.wantOwn)
			}
		})
	}
}

func TestSubtract(t *testing.T) {
	for _, tc := range []struct{ name, a, b, want string }{
		{"nothing", u1 + ":1-5", "", u1 + ":1-5"},
		{"all", u1 + ":1-5", u1 + ":1-9", ""},
		{"the middle", u1 + ":1-9", u1 + ":4-6", u1 + ":1-3:7-9"},
		{"both ends", u1 + ":3-9", u1 + ":1-3:9-12", u1 + ":4-8"},
		{"one cuts two", u1 + ":1-5:7-9", u1 + ":5-7", u1 + ":1-4:8-9"},
		{"many holes", u1 + ":1-10", u1 + ":2:4:6:8:10", u1 + ":1:3:5:7:9"},
		{"another server", u1 + ":1-5," + u2 + ":1", u1 + ":1-5", u2 + ":1"},
		{"a tag", u1 + ":1-5:a:1-5", u1 + ":1-5:a:2", u1 + ":a:1:3-5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mysql(t, tc.a).Subtract(mysql(t, tc.b)).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	got := mariadb(t, 1, "0-1-310,0-2-5,1-1-1").Subtract(mariadb(t, 2, "0-1-306,0-2-5"))
	if got.String() != "0-1-310,1-1-1" || got.Own() != 1 {
		t.Errorf("MariaDB: got %q of %d", got, got.Own())
	}
}

func TestText(t *testing.T) {
	type holder struct {
		Flavor gtid.Flavor
		Set    gtid.Set
	}
	for _, tc := range []struct {
		name string
		in   holder
		want string
	}{
		{"zero", holder{}, `{"Flavor":"unknown","Set":""}`},
		{"MySQL", holder{gtid.MySQL, mysql(t, u1+":1-3:a:5")}, `{"Flavor":"mysql","Set":"mysql:` + u1 + `:1-3:a:5"}`},
		{"MariaDB", holder{gtid.MariaDB, mariadb(t, 2, "0-1-3,1-2-4")}, `{"Flavor":"mariadb","Set":"mariadb:2:0-1-3,1-2-4"}`},
		{"MariaDB that wrote nothing", holder{gtid.MariaDB, mariadb(t, 2)}, `{"Flavor":"mariadb","Set":"mariadb:2:"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data, err := json.Marshal(tc.in)
			if err != nil || string(data) != tc.want {
				t.Fatalf("marshalled %s, %v; want %s", data, err, tc.want)
			}
			var out holder
			if err := json.Unmarshal(data, &out); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(out, tc.in) {
				t.Errorf("got %+v, want %+v", out, tc.in)
			}
		})
	}
	for _, bad := range []string{"x", "postgres:1", "mariadb:0-1-2", "mariadb:x:0-1-2", "mariadb:-1:", "mysql:0-1-2", "mariadb:1:0-1"} {
		s := mysql(t, u1+":1")
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read as %q", bad, s)
		} else if s.String() != u1+":1" {
			t.Errorf("%q was refused and changed the set to %q", bad, s)
		}
	}
	var f gtid.Flavor
	if err := f.UnmarshalText([]byte("oracle")); err == nil {
		t.Error("flavor oracle was accepted")
	}
}
