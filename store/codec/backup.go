package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchyard/store/ledger"
)

// BackupVersion is in the first line of a backup. 1: that line, a line of JSON that
// says what it is of, the state as EncodeState writes it, and a line with the
// SHA-256 of all before it.
const BackupVersion = 1

// MaxBackup is the size of the longest backup that is written or read.
const MaxBackup = 256 << 20

const (
	backupWord = "switchyard-backup "
	sumWord    = "\nsha256 "
	// maxBackupHead bounds the two lines at the beginning.
	maxBackupHead = 8 << 10
)

// BackupHead says what a backup is of.
type BackupHead struct {
	// Name is that of the cluster of controllers.
	Name       string `json:"name"`
	Generation uint64 `json:"generation"`
	// Index and Term are those of the last command in it.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// Controller wrote it, at TakenAt. Leader is false where it did not lead, or
	// could not make sure: then others may have known more.
	Controller string    `json:"controller"`
	Leader     bool      `json:"leader"`
	TakenAt    time.Time `json:"taken_at"`
	// Bytes is how long the state is.
	Bytes int `json:"bytes"`
}

// EncodeBackup returns the bytes of a backup of s. The name, the generation and the
// length in head are s's own.
func EncodeBackup(head BackupHead, s ledger.State) ([]byte, error) {
	state, err := EncodeState(s)
	if err != nil {
		return nil, fmt.Errorf("encode backup: %w", err)
	}
	head.Name, head.Generation, head.Bytes = s.ID, s.Generation, len(state)
	line, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encode backup: %w", err)
	}
	var out bytes.Buffer
	out.WriteString(backupWord + strconv.Itoa(BackupVersion) + "\n")
	out.Write(line)
	out.WriteByte('\n')
	out.Write(state)
	sum := sha256.Sum256(out.Bytes())
	out.WriteString(sumWord + hex.EncodeToString(sum[:]) + "\n")
	if out.Len() > MaxBackup {
		return nil, fmt.Errorf("encode backup: it has %d bytes, at most %d are allowed", out.Len(), MaxBackup)
	}
	return out.Bytes(), nil
}

// DecodeBackup reads what EncodeBackup wrote, whole and unchanged.
func DecodeBackup(data []byte) (BackupHead, ledger.State, error) {
	head, state, err := decodeBackup(data)
	if err != nil {
		return BackupHead{}, ledger.State{}, fmt.Errorf("decode backup: %w", err)
	}
	return head, state, nil
}

func decodeBackup(data []byte) (head BackupHead, state ledger.State, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(backupWord))
	if !ok {
		return head, state, errors.New("it does not begin as a backup of switchyard does")
	}
	first, rest, ok := bytes.Cut(rest[:min(len(rest), maxBackupHead)], []byte("\n"))
	if version, err := strconv.Atoi(string(first)); !ok || err != nil {
		return head, state, errors.New("its first line does not end with its version")
	} else if version != BackupVersion {
		return head, state, fmt.Errorf("it is of version %d, this release reads version %d: use the release that wrote it",
			version, BackupVersion)
	}
	line, _, ok := bytes.Cut(rest, []byte("\n"))
	if !ok {
		return head, state, errors.New("it is damaged: its second line does not end")
	}
	// The sum comes before what it covers is trusted: damage is not told as something else.
	end := bytes.LastIndex(data, []byte(sumWord))
	if end < 0 {
		return head, state, errors.New("it is damaged: its end, with the checksum, is missing")
	}
	sum := sha256.Sum256(data[:end])
	if string(data[end:]) != sumWord+hex.EncodeToString(sum[:])+"\n" {
		return head, state, errors.New("it is damaged: its checksum does not fit")
	}
	if err := strict(line, &head); err != nil {
		return head, state, fmt.Errorf("its second line: %w", err)
	}
	body := data[len(backupWord)+len(first)+1+len(line)+1 : end]
	if len(body) != head.Bytes {
		return head, state, fmt.Errorf("it is damaged: the state has %d bytes and should have %d", len(body), head.Bytes)
	}
	if state, err = DecodeState(body); err != nil {
		return head, state, err
	}
	if state.ID != head.Name || state.Generation != head.Generation || strings.TrimSpace(head.Name) == "" {
		return head, state, fmt.Errorf("it says that it is of %q, generation %d, and holds %q, generation %d",
			head.Name, head.Generation, state.ID, state.Generation)
	}
	return head, state, nil
}
