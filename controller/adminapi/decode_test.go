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
		`{"server":"db1","duration":"2h30m","reason":"r","owner":"o","by":"b"}`, `{"server":"db1","read_only":false,"reason":"r"}`,
		`{"server":"db1","rule":"must","for":"3d"}`, `{"server":"db1","clear":true}`, `{"recovery":"r","comment":"c"}`,
		`{"cluster":"main","force":true,"reason":"r","to":"db2"}`, `{"server":"a","below":"b"}`,
		`{"to":null,"cluster":"x"}`, "{\"cluster\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkDecode(t, body, decodeSwitchover)
		checkDecode(t, body, decodeWitness)
		checkDecode(t, body, decodeRequest[wire.DowntimeRequest])
		checkDecode(t, body, decodeRequest[wire.ServerRequest])
		checkDecode(t, body, decodeRequest[wire.RuleRequest])
		checkDecode(t, body, decodeRequest[wire.PauseRequest])
		checkDecode(t, body, decodeRequest[wire.AckRequest])
		checkDecode(t, body, decodeRequest[wire.FailoverRequest])
		checkDecode(t, body, decodeRequest[wire.MoveRequest])
		checkDecode(t, body, decodeRequest[wire.ReadOnlyRequest])
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
