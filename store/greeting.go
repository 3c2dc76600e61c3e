package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// greetingLimit bounds the one line that either side says before raft speaks.
const greetingLimit = 4096

// hello is the line of the one who dials.
type hello struct {
	Version int      `json:"switchyard_raft"`
	Ledger  string   `json:"ledger"`
	From    string   `json:"from"`
	Address string   `json:"address"`
	To      string   `json:"to"`
	Members []string `json:"members"`
}

// answer is the line that comes back; an empty refusal is a welcome.
type answer struct {
	Refusal string `json:"refusal"`
	ID      string `json:"id"`
}

// introduce says hello on a connection that this controller has dialed.
func (s *stream) introduce(conn net.Conn, address string, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	line := hello{
		Version: 1, Ledger: s.cfg.LedgerID, From: s.cfg.ID, Address: s.cfg.Advertise, Members: s.cfg.members(),
	}
	for _, peer := range s.cfg.Peers {
		if peer.RaftAddress == address {
			line.To = peer.ID
		}
	}
	if err := say(conn, line); err != nil {
		return fmt.Errorf("greet %s: %w", address, err)
	}
	var reply answer
	if err := hear(conn, &reply); err != nil {
		return fmt.Errorf("greet %s: %w", address, err)
	}
	if reply.Refusal != "" {
		err := fmt.Errorf("the controller at %s refuses this one: %s", address, reply.Refusal)
		s.complain(err)
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// welcome hears and answers the hello on a connection that was accepted.
func (s *stream) welcome(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(s.cfg.Timeouts.Network)); err != nil {
		return err
	}
	var line hello
	if err := hear(conn, &line); err != nil {
		return fmt.Errorf("a stranger at %s: %w", conn.RemoteAddr(), err)
	}
	refusal := s.objection(line)
	if err := say(conn, answer{Refusal: refusal, ID: s.cfg.ID}); err != nil {
		return err
	}
	if refusal != "" {
		err := fmt.Errorf("refused the controller %q at %s: %s", line.From, conn.RemoteAddr(), refusal)
		s.complain(err)
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// objection is why line's sender must not talk raft with this controller.
func (s *stream) objection(line hello) string {
	members := s.cfg.members()
	switch {
	case line.Version != 1:
		return fmt.Sprintf("it speaks version %d of the greeting, this controller version 1", line.Version)
	case line.Ledger != s.cfg.LedgerID:
		return fmt.Sprintf("it is of the cluster of controllers %q, this one of %q", line.Ledger, s.cfg.LedgerID)
	case !slices.Equal(line.Members, members):
		return fmt.Sprintf("its peers are %q, here they are %q", line.Members, members)
	case line.From == s.cfg.ID:
		return fmt.Sprintf("it uses the id %q, which is this controller's", line.From)
	case line.To != s.cfg.ID:
		return fmt.Sprintf("it looks for %q here, this controller is %q", line.To, s.cfg.ID)
	}
	if peer, ok := s.cfg.peer(line.From); !ok || peer.RaftAddress != line.Address {
		return fmt.Sprintf("it says that %q is at %s, by the peers here it is at %s: do two controllers use that id?",
			line.From, line.Address, peer.RaftAddress)
	}
	return ""
}

// complain logs a refusal once, not at each of raft's attempts.
func (s *stream) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := err.Error(); text != s.refused {
		s.refused = text
		s.logger.Error("controllers do not agree on who they are", "error", err)
	}
}

func say(to io.Writer, line any) error {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = to.Write(append(data, '\n'))
	return err
}

// hear reads one line and not a byte more: what follows is raft's.
func hear(from io.Reader, line any) error {
	data := make([]byte, 0, 256)
	var one [1]byte
	for {
		if _, err := io.ReadFull(from, one[:]); err != nil {
			return fmt.Errorf("no greeting came: %w", err)
		}
		if one[0] == '\n' {
			break
		}
		if data = append(data, one[0]); len(data) > greetingLimit {
			return errors.New("its first line is no greeting of a controller")
		}
	}
	if err := json.Unmarshal(data, line); err != nil {
		return fmt.Errorf("its first line is no greeting of a controller: %w", err)
	}
	return nil
}
