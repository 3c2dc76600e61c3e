package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"switchyard/controller/adminapi/wire"
)

// field is one member that a JSON object may have.
type field struct {
	name string
	into any
}

func decodeSwitchover(body []byte) (wire.SwitchoverRequest, error) {
	var r wire.SwitchoverRequest
	err := decodeObject(body, field{"cluster", &r.Cluster}, field{"to", &r.To}, field{"by", &r.By},
		field{"reason", &r.Reason})
	if err != nil {
		return r, err
	}
	if err := wire.CheckName("cluster", r.Cluster); err != nil {
		return r, wire.NewError(wire.BadRequest, `field "cluster": `+err.Error(), "")
	}
	for _, f := range []struct {
		name, text string
		most       int
	}{{"by", r.By, wire.MaxName}, {"reason", r.Reason, wire.MaxReason}} {
		if len(f.text) > f.most {
			text := fmt.Sprintf("field %q has %d bytes: want at most %d", f.name, len(f.text), f.most)
			return r, wire.NewError(wire.BadRequest, text, "")
		}
	}
	return r, nil
}

func decodeWitness(body []byte) (wire.WitnessRequest, error) {
	var r wire.WitnessRequest
	err := decodeObject(body, field{"asker", &r.Asker}, field{"cluster", &r.Cluster},
		field{"servers", &r.Servers}, field{"wait_ms", &r.WaitMS})
	if err != nil {
		return r, err
	}
	bad := func(name, text string) error {
		return wire.NewError(wire.BadRequest, fmt.Sprintf("field %q: %s", name, text), "")
	}
	if r.Asker == "" {
		return r, bad("asker", "is empty: want the id of the controller that asks")
	}
	if err := wire.CheckName("cluster", r.Cluster); err != nil {
		return r, bad("cluster", err.Error())
	}
	if len(r.Servers) == 0 || len(r.Servers) > wire.MaxWitnessServers {
		return r, bad("servers", fmt.Sprintf("has %d entries: want 1 to %d", len(r.Servers), wire.MaxWitnessServers))
	}
	for i, key := range r.Servers {
		if key.IsZero() {
			return r, bad("servers", fmt.Sprintf("entry %d is empty: want HOST:PORT", i))
		}
	}
	if r.WaitMS < 1 || r.WaitMS > wire.MaxWitnessWaitMS {
		return r, bad("wait_ms", fmt.Sprintf("is %d: want 1 to %d", r.WaitMS, wire.MaxWitnessWaitMS))
	}
	return r, nil
}

// decodeObject reads one JSON object that has no members but the given ones,
// each once, and nothing behind it. encoding/json alone would take a repeated
// or wrongly cased name, and does not say in which field a value is wrong.
func decodeObject(body []byte, fields ...field) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return wire.NewError(wire.BadRequest, "the body is empty: want a JSON object", "")
	}
	if !utf8.Valid(body) {
		return wire.NewError(wire.BadRequest, "the body is not UTF-8", "")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return wire.NewError(wire.BadRequest, "the body is not a JSON object", "")
	}
	seen := map[string]bool{}
	for decoder.More() {
		if err := decodeMember(decoder, fields, seen); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return wire.NewError(wire.BadRequest, "the JSON object does not end: "+err.Error(), "")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return wire.NewError(wire.BadRequest, "there is something behind the JSON object", "send one object only")
	}
	return nil
}

func decodeMember(decoder *json.Decoder, fields []field, seen map[string]bool) error {
	token, err := decoder.Token()
	name, ok := token.(string)
	if err != nil || !ok {
		return wire.NewError(wire.BadRequest, fmt.Sprintf("the body is not JSON: %v", err), "")
	}
	if seen[name] {
		return wire.NewError(wire.BadRequest, fmt.Sprintf("field %s is given twice", clip(name)), "")
	}
	seen[name] = true
	for _, f := range fields {
		if f.name == name {
			if err := decoder.Decode(f.into); err != nil {
				return wire.NewError(wire.BadRequest, fmt.Sprintf("field %q: %s", name, describe(err)), "")
			}
			return nil
		}
	}
	return wire.NewError(wire.BadRequest, fmt.Sprintf("field %s is not known", clip(name)), "the fields are "+names(fields))
}

func describe(err error) string {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err.Error()
	}
	want := "a string"
	switch mismatch.Type.Kind() {
	case reflect.Slice:
		want = "a list"
	case reflect.Int:
		want = "a whole number"
	case reflect.Bool:
		want = "true or false"
	default:
	}
	return fmt.Sprintf("want %s, got %s", want, mismatch.Value)
}

func names(fields []field) string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		all = append(all, f.name)
	}
	return strings.Join(all, ", ")
}
