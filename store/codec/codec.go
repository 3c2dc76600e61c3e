// Package codec writes the ledger's commands and state as versioned bytes, and
// reads them strictly: what it does not know in full it refuses, because a node
// that applies half of a command has left the others. It is pure.
package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"switchyard/store/ledger"
)

// The first byte of what is written. A reader knows these and no others; they
// change when the meaning of the bytes behind them does.
const (
	// CommandVersion leads a command. 1: an envelope with kind and command.
	CommandVersion = 1
	// StateVersion leads a state. 1: an envelope with the state.
	StateVersion = 1
)

type commandEnvelope struct {
	Kind    string          `json:"kind"`
	Command json.RawMessage `json:"command"`
}

type stateEnvelope struct {
	State *ledger.State `json:"state"`
}

// EncodeCommand returns the bytes of cmd.
func EncodeCommand(cmd ledger.Command) ([]byte, error) {
	if cmd == nil {
		return nil, errors.New("encode command: there is none")
	}
	body, err := json.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode command %s: %w", cmd.Kind(), err)
	}
	return seal(CommandVersion, commandEnvelope{Kind: cmd.Kind(), Command: body})
}

// DecodeCommand reads what EncodeCommand wrote.
func DecodeCommand(data []byte) (ledger.Command, error) {
	var envelope commandEnvelope
	if err := open(data, CommandVersion, &envelope); err != nil {
		return nil, fmt.Errorf("decode command: %w", err)
	}
	if len(envelope.Command) == 0 || envelope.Kind == "" {
		return nil, errors.New("decode command: the envelope lacks its kind or its command")
	}
	cmd, err := decodeKind(envelope.Kind, envelope.Command)
	if err != nil {
		return nil, fmt.Errorf("decode command %.40q: %w", envelope.Kind, err)
	}
	return cmd, nil
}

func decodeKind(kind string, body []byte) (ledger.Command, error) {
	switch kind {
	case ledger.Bootstrap{}.Kind():
		return decodeAs[ledger.Bootstrap](body)
	case ledger.AdoptMaster{}.Kind():
		return decodeAs[ledger.AdoptMaster](body)
	case ledger.RememberServers{}.Kind():
		return decodeAs[ledger.RememberServers](body)
	case ledger.ClaimRecovery{}.Kind():
		return decodeAs[ledger.ClaimRecovery](body)
	case ledger.ResumeRecovery{}.Kind():
		return decodeAs[ledger.ResumeRecovery](body)
	case ledger.ChooseWinner{}.Kind():
		return decodeAs[ledger.ChooseWinner](body)
	case ledger.JudgeDurability{}.Kind():
		return decodeAs[ledger.JudgeDurability](body)
	case ledger.Rewind{}.Kind():
		return decodeAs[ledger.Rewind](body)
	case ledger.Announce{}.Kind():
		return decodeAs[ledger.Announce](body)
	case ledger.RecordSteps{}.Kind():
		return decodeAs[ledger.RecordSteps](body)
	case ledger.CloseRecovery{}.Kind():
		return decodeAs[ledger.CloseRecovery](body)
	case ledger.SetStanding{}.Kind():
		return decodeAs[ledger.SetStanding](body)
	case ledger.Confirm{}.Kind():
		return decodeAs[ledger.Confirm](body)
	case ledger.SetReaders{}.Kind():
		return decodeAs[ledger.SetReaders](body)
	}
	return decodeOperation(kind, body)
}

// decodeOperation is decodeKind for what operators ask for, relocations and the
// audit.
func decodeOperation(kind string, body []byte) (ledger.Command, error) {
	switch kind {
	case ledger.BeginDowntime{}.Kind():
		return decodeAs[ledger.BeginDowntime](body)
	case ledger.EndDowntime{}.Kind():
		return decodeAs[ledger.EndDowntime](body)
	case ledger.SetPromotionRule{}.Kind():
		return decodeAs[ledger.SetPromotionRule](body)
	case ledger.PauseRecoveries{}.Kind():
		return decodeAs[ledger.PauseRecoveries](body)
	case ledger.ResumeRecoveries{}.Kind():
		return decodeAs[ledger.ResumeRecoveries](body)
	case ledger.MarkDatacenterDown{}.Kind():
		return decodeAs[ledger.MarkDatacenterDown](body)
	case ledger.MarkDatacenterUp{}.Kind():
		return decodeAs[ledger.MarkDatacenterUp](body)
	case ledger.AckRecovery{}.Kind():
		return decodeAs[ledger.AckRecovery](body)
	case ledger.OpenRelocation{}.Kind():
		return decodeAs[ledger.OpenRelocation](body)
	case ledger.CloseRelocation{}.Kind():
		return decodeAs[ledger.CloseRelocation](body)
	case ledger.SetDetached{}.Kind():
		return decodeAs[ledger.SetDetached](body)
	case ledger.AppendAudit{}.Kind():
		return decodeAs[ledger.AppendAudit](body)
	case ledger.PruneAudit{}.Kind():
		return decodeAs[ledger.PruneAudit](body)
	case ledger.BeginControllerChange{}.Kind():
		return decodeAs[ledger.BeginControllerChange](body)
	case ledger.AdvanceControllers{}.Kind():
		return decodeAs[ledger.AdvanceControllers](body)
	}
	return nil, errors.New("this release knows no such kind; a newer one wrote it")
}

func decodeAs[C ledger.Command](body []byte) (ledger.Command, error) {
	var cmd C
	if err := strict(body, &cmd); err != nil {
		return nil, err
	}
	return cmd, nil
}

// EncodeState returns the bytes of a whole state.
func EncodeState(s ledger.State) ([]byte, error) {
	data, err := seal(StateVersion, stateEnvelope{State: &s})
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return data, nil
}

// DecodeState reads what EncodeState wrote.
func DecodeState(data []byte) (ledger.State, error) {
	var envelope stateEnvelope
	if err := open(data, StateVersion, &envelope); err != nil {
		return ledger.State{}, fmt.Errorf("decode state: %w", err)
	}
	if envelope.State == nil {
		return ledger.State{}, errors.New("decode state: the envelope has no state")
	}
	return *envelope.State, nil
}

func seal(version byte, envelope any) ([]byte, error) {
	body, err := json.Marshal(envelope)
	if err != nil {
		return nil, err
	}
	return append([]byte{version}, body...), nil
}

// open checks the version byte and reads the envelope behind it.
func open(data []byte, version byte, envelope any) error {
	if len(data) == 0 {
		return errors.New("there are no bytes")
	}
	if data[0] != version {
		return fmt.Errorf("version %d is unknown, this release reads version %d", data[0], version)
	}
	return strict(data[1:], envelope)
}

// strict reads exactly one JSON value with known fields only.
func strict(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the bytes end too early")
		}
		return fmt.Errorf("%s: %w", strings.TrimPrefix(fmt.Sprintf("%T", into), "*"), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there are bytes after the end, from byte %d on", decoder.InputOffset())
	}
	return nil
}
