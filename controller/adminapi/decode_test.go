package adminapi

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"switchyard/controller/adminapi/wire"
)

// Whatever is decoded must be what a plain decoder reads, and survive being
// sent again; whatever is refused must be refused with a sentence.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"cluster":"main","to":"db2:3306","by":"me"}`, `{"cluster":"main"}`, `{}`, `[]`, ``, `{"cluster":`,
		`{"asker":"c1","cluster":"main","servers":["a:1","[::1]:2"],"wait_ms":5}`, `{"cluster":"a","cluster":"b"}`,
		`{"to":null,"cluster":"x"}`, "{\"cluster\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkDecode(t, body, decodeSwitchover)
		checkDecode(t, body, decodeWitness)
	})
}

func checkDecode[T any](t *testing.T, body []byte, decode func([]byte) (T, error)) {
	t.Helper()
	got, err := decode(body)
	if err != nil {
		var refusal *wire.Error
		if !errors.As(err, &refusal) || refusal.Code != wire.BadRequest || refusal.Message == "" {
			t.Fatalf("%q is refused with %v", body, err)
		}
		return
	}
	var plain T
	if err := json.Unmarshal(body, &plain); err != nil || !reflect.DeepEqual(plain, got) {
		t.Fatalf("%q: decoded %+v, plainly %+v, %v", body, got, plain, err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	back, err := decode(again)
	if err != nil || !reflect.DeepEqual(back, got) {
		t.Fatalf("%q: sent again as %s, read as %+v, %v", body, again, back, err)
	}
}
