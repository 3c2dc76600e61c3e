package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"switchyard/store/ledger"
)

const (
	// greetingVersion is 2 since both ends prove that they know the secret.
	greetingVersion = 2
	// greetingLimit bounds each of the lines that are said before raft speaks.
	greetingLimit = 4096
)

// hello is the first line of the one who dials.
type hello struct {
	Version int    `json:"switchyard_raft"`
	Ledger  string `json:"ledger"`
	From    string `json:"from"`
	Address string `json:"address"`
	To      string `json:"to"`
	// Members are the controllers that it knows, and Set the number of that set; 0
	// is for those of its configuration file.
	Members []string `json:"members"`
	Set     uint64   `json:"set,omitempty"`
	Nonce   []byte   `json:"nonce"`
}

// challenge is what comes back. A refusal in it is for one who speaks another
// version, or no TLS; its key is that of version 1, which reads it too.
type challenge struct {
	Refusal string `json:"refusal,omitempty"`
	Version int    `json:"switchyard_raft"`
	Nonce   []byte `json:"nonce,omitempty"`
}

// evidence is the second line of the one who dials, and shows that it knows
// the secret. It goes first: who is dialed tells a stranger nothing.
type evidence struct {
	Proof []byte `json:"proof"`
}

// answer is the last line; an empty refusal is a welcome.
type answer struct {
	Refusal string `json:"refusal"`
	ID      string `json:"id"`
	Proof   []byte `json:"proof,omitempty"`
	// Removed is set where the dialer is no controller any more, by set Set.
	Removed bool   `json:"removed,omitempty"`
	Set     uint64 `json:"set,omitempty"`
}

// expulsion is what a controller was told that was removed.
type expulsion struct {
	sentence string
	set      uint64
}

// errNothingSaid is what somebody leaves who only looks whether a port is open.
var errNothingSaid = errors.New("it said nothing")

// introduce greets on a connection that this controller has dialed.
func (s *stream) introduce(conn *greeted, address string, deadline time.Time) error {
	if err := conn.raw.SetDeadline(deadline); err != nil {
		return err
	}
	if err := s.greet(conn, address); err != nil {
		return fmt.Errorf("greet %s: %w", address, err)
	}
	return conn.raw.SetDeadline(time.Time{})
}

func (s *stream) greet(conn *greeted, address string) error {
	binding, err := s.secureDialed(conn, address)
	if err != nil {
		return err
	}
	known := s.known()
	line := hello{
		Version: greetingVersion, Ledger: s.cfg.LedgerID, From: s.cfg.ID, Address: s.cfg.Advertise, To: s.at(address),
		Members: idsOf(known), Set: known.Number, Nonce: newNonce(),
	}
	said, err := say(conn.Conn, line)
	if err != nil {
		return err
	}
	var back challenge
	heard, err := hear(conn.Conn, &back)
	switch {
	case certificateRefused(err):
		return s.dislike(address, fmt.Errorf("it does not accept the certificate of this controller: %w; see its log", err))
	case err != nil:
		return err
	case back.Refusal != "":
		return s.dislike(address, fmt.Errorf("it refuses this controller: %s", back.Refusal))
	case back.Version != greetingVersion || len(back.Nonce) != nonceSize:
		return s.dislike(address, fmt.Errorf("it speaks version %d of the greeting, this controller version %d; "+
			"run the same release on all controllers", back.Version, greetingVersion))
	}
	talk := newTranscript(s.cfg.Secret, said, heard, binding)
	if _, err := say(conn.Conn, evidence{talk.proof(dialer)}); err != nil {
		return err
	}
	var reply answer
	_, err = hear(conn.Conn, &reply)
	switch {
	case err != nil:
		return err
	case reply.Refusal != "":
		if reply.Removed && talk.shows(reply.Proof, acceptor) {
			s.expelled.Store(&expulsion{sentence: reply.ID + " says: " + reply.Refusal, set: reply.Set})
		}
		return s.dislike(address, fmt.Errorf("it refuses this controller: %s", reply.Refusal))
	case !talk.shows(reply.Proof, acceptor) || reply.ID != line.To:
		return s.dislike(address, fmt.Errorf("it does not prove that it is %q and knows the secret of these controllers; "+
			"find out who answers there", line.To))
	}
	return nil
}

// welcome hears and answers the greeting on a connection that was accepted.
func (s *stream) welcome(conn *greeted) error {
	// One deadline for all of it, so that who sends a byte now and then gains nothing.
	if err := conn.raw.SetDeadline(time.Now().Add(s.cfg.Timeouts.Network)); err != nil {
		return err
	}
	binding, chain, err := s.secureAccepted(conn)
	if err != nil {
		return err
	}
	var line hello
	heard, err := hear(conn.Conn, &line)
	if err != nil {
		return err
	}
	if line.Version != greetingVersion {
		return s.refuse(conn.Conn, challenge{Version: greetingVersion, Refusal: fmt.Sprintf(
			"it speaks version %d of the greeting, this controller version %d; run the same release on all controllers",
			line.Version, greetingVersion)})
	}
	if len(line.Nonce) != nonceSize {
		return errors.New("its greeting has no nonce")
	}
	said, err := say(conn.Conn, challenge{Version: greetingVersion, Nonce: newNonce()})
	if err != nil {
		return err
	}
	var shown evidence
	if _, err := hear(conn.Conn, &shown); err != nil {
		return err
	}
	talk := newTranscript(s.cfg.Secret, heard, said, binding)
	if !talk.shows(shown.Proof, dialer) {
		return s.refuse(conn.Conn, answer{Refusal: "it does not know the secret of these controllers; " +
			"give all controllers the same secret"})
	}
	// Only now is there somebody to discuss it with.
	known := s.known()
	refusal, removed := s.objection(line, known)
	if refusal == "" {
		refusal = s.misnamed(line, chain)
	}
	if removed {
		return s.refuse(conn.Conn, answer{Refusal: refusal, ID: s.cfg.ID, Removed: true, Set: known.Number, Proof: talk.proof(acceptor)})
	}
	if refusal != "" {
		return s.refuse(conn.Conn, answer{Refusal: refusal, ID: s.cfg.ID})
	}
	s.mu.Lock()
	conn.from, conn.set = line.From, line.Set
	s.mu.Unlock()
	if _, err := say(conn.Conn, answer{ID: s.cfg.ID, Proof: talk.proof(acceptor)}); err != nil {
		return err
	}
	return conn.raw.SetDeadline(time.Time{})
}

// refuse says a line that refuses, and returns its reason.
func (s *stream) refuse(to net.Conn, line any) error {
	reason := ""
	switch l := line.(type) {
	case challenge:
		reason = l.Refusal
	case answer:
		reason = l.Refusal
	}
	_, err := say(to, line)
	return errors.Join(errors.New(reason), err)
}

// objection is why line's sender must not talk raft with this controller, and
// whether that is because it was removed.
func (s *stream) objection(line hello, known ledger.Controllers) (refusal string, removed bool) {
	switch {
	case line.Ledger != s.cfg.LedgerID:
		return fmt.Sprintf("it is of the cluster of controllers %q, this one of %q", line.Ledger, s.cfg.LedgerID), false
	case line.Set == 0 && known.Number == 0 && !slices.Equal(line.Members, idsOf(known)):
		// Both go by their files: before they have agreed on anything else, these
		// must be the same.
		return fmt.Sprintf("its peers are %q, here they are %q", line.Members, idsOf(known)), false
	case line.From == s.cfg.ID:
		return fmt.Sprintf("it uses the id %q, which is this controller's", line.From), false
	case line.To != s.cfg.ID:
		return fmt.Sprintf("it looks for %q here, this controller is %q", line.To, s.cfg.ID), false
	case line.Set > known.Number:
		// It knows more of the controllers than this one, which may just have been
		// added. Whose vote counts is raft's affair, and not decided here.
		if !slices.Contains(line.Members, line.From) {
			return fmt.Sprintf("it is none of the controllers %q of set %d that it knows itself", line.Members, line.Set), true
		}
		return "", false
	}
	member, ok := known.Find(line.From)
	if !ok {
		return outsider(line.From, known), true
	}
	if peer, ok := s.cfg.peer(line.From); member.Raft != line.Address && (!ok || peer.RaftAddress != line.Address) {
		return fmt.Sprintf("it says that %q is at %s, by the peers here it is at %s: do two controllers use that id? "+
			"One that has moved is told to the others by `switchyard controllers move`", line.From, line.Address, member.Raft), false
	}
	return "", false
}

// outsider says why one is no controller, and what to do.
func outsider(id string, known ledger.Controllers) string {
	if former, ok := known.Removed(id); ok {
		return fmt.Sprintf("controller %q was removed by %s at %s: stop it; to have it back, empty its data directory, "+
			"start it with join: true, and add it by `switchyard controllers add`",
			id, former.By, former.At.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%q is none of the controllers %q of set %d: add it by `switchyard controllers add`, "+
		"or stop it", id, idsOf(known), known.Number)
}

// say sends one line, and returns it.
func say(to io.Writer, line any) ([]byte, error) {
	data, err := json.Marshal(line)
	if err != nil {
		return nil, err
	}
	_, err = to.Write(append(data, '\n'))
	return data, err
}

// hear reads one line and not a byte more: what follows is raft's.
func hear(from io.Reader, line any) ([]byte, error) {
	data := make([]byte, 0, 512)
	var one [1]byte
	for {
		if _, err := io.ReadFull(from, one[:]); err != nil {
			return nil, fmt.Errorf("no greeting came: %w", err)
		}
		if one[0] == '\n' {
			break
		}
		if data = append(data, one[0]); len(data) > greetingLimit {
			return nil, errors.New("its first line is no greeting of a controller")
		}
	}
	if err := json.Unmarshal(data, line); err != nil {
		return nil, fmt.Errorf("its line is no greeting of a controller: %w", err)
	}
	return data, nil
}
