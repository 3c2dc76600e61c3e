package protocol

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"switchyard/router/routes"
)

// record writes the fixtures anew. What one release has written must be
// readable by all that speak its version: a changed fixture is a new version.
var record = flag.Bool("record", false, "write testdata anew")

func who() Who {
	return Who{
		Sidecar: "db-a", Run: "r-1", Boot: "6f0c", Cluster: "shop", Server: "db-a.example:3306",
		UUID: "3e11fa47-71ca-11e1-9e33-c80aa9429562",
	}
}

func epoch() routes.Epoch { return routes.Epoch{Generation: 1 << 62, Number: 7} }

// samples are messages of each kind, by the names of their fixtures.
func samples() map[string]any {
	bare := who()
	bare.UUID, bare.Server = "", "[2001:db8::1]:3307"
	samples := map[string]any{
		"renew": Renew{Who: who(), State: Writable, Holding: Held, Epoch: epoch(), FenceMS: 700, Tied: true},
		"renew-kept": Renew{Who: who(), State: Writable, Holding: Held, Epoch: epoch(), FenceMS: 700, Tied: true,
			Controllers: []string{"c1", "c2", "c3"}, Peers: []string{"side-b", "side-c"}},
		"renew-first":      Renew{Who: bare, State: Silent, Holding: Unleased, FenceMS: 700},
		"reply-grant":      RenewReply{Controller: "ctl-1", Run: "x", Leader: "ctl-2", Epoch: epoch(), GrantMS: 10_000},
		"reply-deposed":    RenewReply{Controller: "ctl-1", Run: "x", Epoch: epoch(), Refusal: Deposed, Detail: "db-b is the master"},
		"reply-unknown":    RenewReply{Controller: "ctl-1", Run: "x", Refusal: Unknown},
		"exit-killed":      Exit{Who: who(), Kind: Killed, Status: 9, PID: 4711, AgoMS: 2},
		"exit-clean":       Exit{Who: who(), Kind: Clean, PID: 4711},
		"exit-noted":       ExitNoted{Controller: "ctl-1"},
		"follow":           Follow{Who: who(), Epoch: epoch()},
		"follow-reply":     FollowReply{Who: who(), Follows: true, Epoch: epoch()},
		"follow-reply-no":  FollowReply{Who: who(), Epoch: epoch(), No: Parted},
		"part":             Part{Controller: "ctl-1", Cluster: "shop", Server: "db-a:3306", Epoch: epoch()},
		"part-reply":       PartReply{Who: who(), Parted: true, Epoch: epoch()},
		"part-reply-newer": PartReply{Who: who(), Epoch: epoch()},
	}
	maps.Copy(samples, routeSamples())
	maps.Copy(samples, tailSamples())
	return samples
}

func encode(m any) ([]byte, error) {
	switch m := m.(type) {
	case Renew:
		return Encode(m)
	case RenewReply:
		return Encode(m)
	case Exit:
		return Encode(m)
	case ExitNoted:
		return Encode(m)
	case Follow:
		return Encode(m)
	case FollowReply:
		return Encode(m)
	case Part:
		return Encode(m)
	case PartReply:
		return Encode(m)
	case Tail:
		return Encode(m)
	case TailReply:
		return Encode(m)
	case Apply:
		return Encode(m)
	case Read:
		return Encode(m)
	case Applied:
		return Encode(m)
	case Watch:
		return Encode(m)
	case Tables:
		return Encode(m)
	}
	return nil, errors.New("no message")
}

// decode reads data as a message of m's kind.
func decode(m any, data []byte) (any, error) {
	switch m.(type) {
	case Renew:
		return Decode[Renew](data)
	case RenewReply:
		return Decode[RenewReply](data)
	case Exit:
		return Decode[Exit](data)
	case ExitNoted:
		return Decode[ExitNoted](data)
	case Follow:
		return Decode[Follow](data)
	case FollowReply:
		return Decode[FollowReply](data)
	case Part:
		return Decode[Part](data)
	case PartReply:
		return Decode[PartReply](data)
	case Tail:
		return Decode[Tail](data)
	case TailReply:
		return Decode[TailReply](data)
	case Apply:
		return Decode[Apply](data)
	case Read:
		return Decode[Read](data)
	case Applied:
		return Decode[Applied](data)
	case Watch:
		return Decode[Watch](data)
	case Tables:
		return Decode[Tables](data)
	}
	return nil, errors.New("no message")
}

func TestFixtures(t *testing.T) {
	for name, message := range samples() {
		data, err := encode(message)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", name+".v1.json")
		if *record {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		frozen, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(frozen, data) {
			t.Errorf("%s: is written as\n%s\nthe fixture has\n%s", name, data, frozen)
		}
		got, err := decode(message, frozen)
		if err != nil || !reflect.DeepEqual(got, message) {
			t.Errorf("%s: %v: is read as\n%+v\nwant\n%+v", name, err, got, message)
		}
		// Half a message is none, wherever it ends.
		for n := range frozen {
			if _, err := decode(message, frozen[:n]); err == nil {
				t.Fatalf("%s: read from its first %d bytes", name, n)
			}
		}
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, ok := strings.CutSuffix(file.Name(), ".v1.json"); ok && samples()[name] == nil {
			t.Errorf("%s: a fixture without a sample", name)
		}
	}
}

func TestTheTextNamesAllThatIsSpoken(t *testing.T) {
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{PathRenew, PathExit, PathFollow, PathPart, PathApply, PathRead, PathWatch, PathTail, string(MySQL), string(MariaDB)}
	for _, reason := range []Reason{Deposed, Standby, Unknown, NotReady, Conflict} {
		want = append(want, string(reason))
	}
	for _, reason := range []NoReason{Parted, NewerEpoch, NotReceiving, Elsewhere} {
		want = append(want, string(reason))
	}
	for _, kind := range []ExitKind{Clean, Failed, Killed, Vanished} {
		want = append(want, string(kind))
	}
	for _, message := range samples() {
		want = append(want, fields(reflect.TypeOf(message))...)
	}
	for _, word := range want {
		if !strings.Contains(string(text), "`"+word+"`") && !strings.Contains(string(text), "POST "+word) {
			t.Errorf("PROTOCOL.md does not name %s", word)
		}
	}
}

func fields(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		field := of.Field(i)
		if field.Anonymous {
			names = append(names, fields(field.Type)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
		kind := field.Type
		for kind.Kind() == reflect.Slice || kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if strings.HasPrefix(kind.PkgPath(), "switchyard/") && kind.Kind() == reflect.Struct {
			names = append(names, fields(kind)...)
		}
	}
	return names
}

func TestBadMessagesAreRefusedByName(t *testing.T) {
	renew := func(change func(*Renew)) any {
		m := samples()["renew"].(Renew)
		change(&m)
		return m
	}
	for want, message := range map[string]any{
		"sidecar is missing":        renew(func(m *Renew) { m.Sidecar = "" }),
		"cluster has 101 bytes":     renew(func(m *Renew) { m.Cluster = strings.Repeat("x", 101) }),
		"cannot be printed":         renew(func(m *Renew) { m.Boot = "a\nb" }),
		"run is not UTF-8":          renew(func(m *Renew) { m.Run = "\xff" }),
		"want HOST:PORT":            renew(func(m *Renew) { m.Server = "db:0" }),
		"server":                    renew(func(m *Renew) { m.Server = "db" }),
		"state is":                  renew(func(m *Renew) { m.State = "odd" }),
		"holding is":                renew(func(m *Renew) { m.Holding = "" }),
		"want at most 100":          renew(func(m *Renew) { m.Controllers = make([]string, 101) }),
		"controllers[1] is missing": renew(func(m *Renew) { m.Controllers = []string{"c1", ""} }),
		"peers has \"b\" twice":     renew(func(m *Renew) { m.Peers = []string{"b", "b"} }),
		"fence_ms is 0":             renew(func(m *Renew) { m.FenceMS = 0 }),
		"grant_ms is 0":             RenewReply{Controller: "c", Run: "x", Epoch: epoch()},
		"grant_ms is -1":            RenewReply{Controller: "c", Run: "x", Epoch: epoch(), GrantMS: -1},
		"grant without an epoch":    RenewReply{Controller: "c", Run: "x", GrantMS: 1000},
		"grant and a refusal":       RenewReply{Controller: "c", Run: "x", Epoch: epoch(), GrantMS: 1000, Refusal: Standby},
		"no epoch in which":         RenewReply{Controller: "c", Run: "x", Refusal: Deposed},
		"refusal is":                RenewReply{Controller: "c", Run: "x", Refusal: "tired"},
		"kind is":                   Exit{Who: who(), Kind: "odd", PID: 1},
		"status is 9, want 0":       Exit{Who: who(), Kind: Clean, Status: 9, PID: 1},
		"status is 0, want 1":       Exit{Who: who(), Kind: Killed, PID: 1},
		"pid is 0":                  Exit{Who: who(), Kind: Clean},
		"ago_ms":                    Exit{Who: who(), Kind: Clean, PID: 1, AgoMS: -1},
		"controller is missing":     ExitNoted{},
		"never granted a lease":     Follow{Who: who()},
		"no is":                     FollowReply{Who: who()},
		"both follows":              FollowReply{Who: who(), Follows: true, No: Parted},
		"epoch is missing":          Part{Controller: "c", Cluster: "shop", Server: "a:1"},
		"partreply: epoch is mis":   PartReply{Who: who()},
	} {
		if _, err := encode(message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", message, err, want)
		}
	}
}

func TestBytesThatAreRefused(t *testing.T) {
	const noted = `{"version":1,"message":{"controller":"c"}}`
	if _, err := Decode[ExitNoted]([]byte(noted)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"another version": strings.Replace(noted, "1", "2", 1),
		"no version":      `{"message":{"controller":"c"}}`,
		"no message":      `{"version":1}`,
		"null":            `{"version":1,"message":null}`,
		"unknown field":   strings.Replace(noted, `"c"`, `"c","also":1`, 1),
		"unknown outside": strings.Replace(noted, `1,`, `1,"also":1,`, 1),
		"more behind":     noted + " {}",
		"another kind":    `{"version":1,"message":{"parted":true}}`,
		"too long":        strings.Repeat(" ", MaxMessage) + noted,
		"nothing":         "",
	} {
		_, err := Decode[ExitNoted]([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "decode exitnoted: ") {
			t.Errorf("%s: %v", name, err)
		}
		if want := strings.HasSuffix(name, " version"); errors.Is(err, ErrVersion) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: whatever is read can be written, and is read again as the same.
func FuzzDecode(f *testing.F) {
	for name := range samples() {
		data, err := os.ReadFile(filepath.Join("testdata", name+".v1.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, kind := range samples() {
			got, err := decode(kind, data)
			if err != nil {
				continue
			}
			written, err := encode(got)
			if err != nil {
				t.Fatalf("%s: %+v cannot be written: %v", name, got, err)
			}
			again, err := decode(kind, written)
			if err != nil {
				t.Fatalf("%s: %+v was written, and is not read: %v", name, got, err)
			}
			// Compared as they are written: an empty list is the same as none.
			if twice, err := encode(again); err != nil || !bytes.Equal(twice, written) {
				t.Fatalf("%s: %v: %+v is read again as %+v", name, err, got, again)
			}
		}
	})
}
