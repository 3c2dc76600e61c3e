package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/store/ledger"
)

var taken = time.Date(2026, 3, 5, 6, 7, 8, 9, time.UTC)

func backup(t testing.TB) (BackupHead, []byte) {
	t.Helper()
	head := BackupHead{Index: 41, Term: 3, Controller: "c2", Leader: true, TakenAt: taken}
	data, err := EncodeBackup(head, operatedState(t))
	if err != nil {
		t.Fatal(err)
	}
	return head, data
}

// restoredState is what a ledger begins with that is restored, with one of its two
// clusters adopted anew.
func restoredState(t testing.TB) ledger.State {
	t.Helper()
	s, err := ledger.Restored(operatedState(t), 1_800_000_000, "kim@ops", "from a backup", taken)
	if err != nil {
		t.Fatal(err)
	}
	return also(t, s, ledger.AdoptMaster{Cluster: "blog", Master: s.Held["blog"].Master, UUID: "u-blog", At: taken})
}

func TestBackupMatchesTheFixture(t *testing.T) {
	head, data := backup(t)
	got, state, err := DecodeBackup(fixture(t, "backup.v1", data))
	head.Name, head.Generation, head.Bytes = "prod", 7, got.Bytes
	if err != nil || got != head || !reflect.DeepEqual(state, operatedState(t)) {
		t.Errorf("%+v came back as %+v, %v", head, got, err)
	}
}

func TestRestoredStateMatchesTheFixture(t *testing.T) {
	want := restoredState(t)
	if len(want.Held) != 1 || len(want.Clusters) != 1 {
		t.Fatalf("the fixture tries nothing: %+v", want)
	}
	data, err := EncodeState(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeState(fixture(t, "state-restored.v1", data)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v came back as %+v, %v", want, got, err)
	}
}

// What is cut anywhere, or changed in any byte, is refused.
func TestDamagedBackupsAreRefused(t *testing.T) {
	_, data := backup(t)
	for n := range data {
		if _, _, err := DecodeBackup(data[:n]); err == nil {
			t.Fatalf("its first %d bytes were taken for a backup", n)
		}
		changed := bytes.Clone(data)
		changed[n] ^= 0x20
		if _, _, err := DecodeBackup(changed); err == nil {
			t.Fatalf("byte %d was changed, and nobody noticed", n)
		}
	}
	if _, _, err := DecodeBackup(append(bytes.Clone(data), '\n')); err == nil {
		t.Error("something follows, and nobody noticed")
	}
}

func TestForeignBackupsAreRefused(t *testing.T) {
	_, data := backup(t)
	for name, tc := range map[string]struct{ from, to, want string }{
		"newer":         {"switchyard-backup 1\n", "switchyard-backup 2\n", "use the release that wrote it"},
		"other name":    {`{"name":"prod"`, `{"name":"test"`, `it says that it is of "test"`},
		"unknown field": {`{"name":"prod"`, `{"colour":1,"name":"prod"`, `unknown field "colour"`},
		"newer state":   {"\n\x01{\"state\"", "\n\x02{\"state\"", "version 2 is unknown"},
		"no backup":     {"switchyard-backup", "switchyard-nothing", "does not begin as a backup"},
	} {
		body, _, _ := bytes.Cut(data, []byte(sumWord))
		body = bytes.Replace(body, []byte(tc.from), []byte(tc.to), 1)
		sum := sha256.Sum256(body)
		_, _, err := DecodeBackup(append(body, sumWord+hex.EncodeToString(sum[:])+"\n"...))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: want %q, got %v", name, tc.want, err)
		}
	}
}
