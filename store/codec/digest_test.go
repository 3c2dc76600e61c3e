package codec

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func digest(t testing.TB, s ledger.State) string {
	t.Helper()
	text, err := Digest(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Releases compare their digests: one that changes for the same state would have them
// take each other for damaged. Then DigestVersion has to rise.
func TestDigestsAreFrozen(t *testing.T) {
	for name, s := range map[string]ledger.State{
		"digest-empty.v1": {}, "digest-state.v1": state(t),
	} {
		fixture(t, name, []byte(digest(t, s)+"\n"))
	}
}

// A state that went through the files of a release must digest as it did before.
func TestDigestOutlivesTheBytes(t *testing.T) {
	for name, s := range map[string]ledger.State{"empty": {}, "state": state(t)} {
		data, err := EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeState(data)
		if err != nil {
			t.Fatal(err)
		}
		if digest(t, back) != digest(t, s) {
			t.Errorf("%s: %+v came back as %+v", name, s, back)
		}
	}
}

// A family without records is nil in one controller, and empty in one that read it
// from a file: every field of the state has to be held the same in both.
func TestEmptyIsNothing(t *testing.T) {
	nothing := digest(t, ledger.State{})
	of := reflect.TypeFor[ledger.State]()
	for i := range of.NumField() {
		var s ledger.State
		field := reflect.ValueOf(&s).Elem().Field(i)
		switch field.Kind() {
		case reflect.Map:
			field.Set(reflect.MakeMap(field.Type()))
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 0, 0))
		default:
			continue
		}
		if digest(t, s) != nothing {
			t.Errorf("%s: empty is another digest than nil: say omitempty, or have Digest make it nil", of.Field(i).Name)
		}
	}
}

// Every field counts: the digest of a state that differs in one of them differs.
func TestEveryFieldIsInTheDigest(t *testing.T) {
	seen := map[string]string{digest(t, ledger.State{}): "nothing"}
	of := reflect.TypeFor[ledger.State]()
	for i := range of.NumField() {
		var s ledger.State
		field := reflect.ValueOf(&s).Elem().Field(i)
		if !change(field) {
			t.Fatalf("%s: this test does not know how to change a %s", of.Field(i).Name, field.Kind())
		}
		d := digest(t, s)
		if other, taken := seen[d]; taken {
			t.Errorf("%s is not in the digest: it is that of %s", of.Field(i).Name, other)
		}
		seen[d] = of.Field(i).Name
	}
}

// change makes v another value than its zero.
func change(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.String:
		v.SetString("x")
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Struct:
		return v.NumField() > 0 && change(v.Field(0))
	default:
		return false
	}
	return true
}

// fleet is a state with as many servers as are promised.
func fleet(n int) ledger.State {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)
	s := ledger.State{ID: "prod", Generation: 7, Clusters: map[string]ledger.Cluster{}, Servers: map[topology.Key]ledger.Server{}}
	for i := range n {
		k := topology.Key{Host: fmt.Sprintf("db-%d.example.com", i), Port: 3306}
		s.Servers[k] = ledger.Server{Key: k, Cluster: fmt.Sprintf("shop-%d", i/3), UUID: strings.Repeat("u", 36), Standing: ledger.Member, Since: at}
		if i%3 == 0 {
			name := fmt.Sprintf("shop-%d", i/3)
			s.Clusters[name] = ledger.Cluster{Name: name, Master: k, Revision: 1, AdoptedAt: at}
		}
	}
	for i := range 10_000 {
		s.Audit = append(s.Audit, ledger.AuditEntry{ID: uint64(i + 1), At: at, Kind: ledger.AuditRepair, Action: "x", By: "ctl-1",
			Reason: strings.Repeat("r", 80)})
	}
	return s
}

func BenchmarkDigest(b *testing.B) {
	s := fleet(10_000)
	for b.Loop() {
		digest(b, s)
	}
}
