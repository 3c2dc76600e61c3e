package adminapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// Peers makes the internal calls of one controller to the others' doors.
type Peers struct {
	secret string
	over   *tls.Config
}

// NewPeers returns the caller's side of the internal calls.
func NewPeers(secret string) Peers { return Peers{secret: secret} }

// Over returns p for https URLs too; nil verifies these by the system's roots.
func (p Peers) Over(over *tls.Config) Peers {
	p.over = over
	return p
}

// Ask puts a question to the witness whose door is at base. Its deadline is
// that of ctx. A reply that is not signed with the shared secret is an error.
func (p Peers) Ask(ctx context.Context, base string, question wire.WitnessRequest) (wire.WitnessReply, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return wire.WitnessReply{}, fmt.Errorf("encode the question: %w", err)
	}
	var reply wire.WitnessReply
	err = p.do(ctx, call.Request{Method: "POST", URL: join(base, wire.PathWitness), Body: body}, wire.PathWitness, &reply)
	return reply, err
}

// WhoAmI asks which process answers at base.
func (p Peers) WhoAmI(ctx context.Context, base string) (wire.WhoAmI, error) {
	var who wire.WhoAmI
	err := p.do(ctx, call.Request{Method: "GET", URL: join(base, wire.PathWhoAmI)}, wire.PathWhoAmI, &who)
	return who, err
}

// send makes a signed call; the nonce is what its reply is signed for.
func (p Peers) send(ctx context.Context, r call.Request, path string) (reply call.Reply, nonce string, err error) {
	nonce = rand.Text()
	r.Header = map[string]string{
		wire.HeaderNonce:     nonce,
		wire.HeaderSignature: wire.SignRequest(p.secret, r.Method, path, nonce, r.Body),
	}
	r.TLS = p.over
	reply, err = call.Do(ctx, r)
	return reply, nonce, err
}

func (p Peers) do(ctx context.Context, r call.Request, path string, into any) error {
	reply, nonce, err := p.send(ctx, r, path)
	if err != nil {
		return err
	}
	if reply.Status != 200 {
		return fmt.Errorf("%s: status %d: %w", r.URL, reply.Status, failure(reply.Body))
	}
	if !wire.VerifySignature(p.secret, reply.Signature, wire.SignReply(p.secret, nonce, reply.Status, reply.Body)) {
		return fmt.Errorf("%s: the reply is not signed with the controllers' shared secret", r.URL)
	}
	if err := json.NewDecoder(bytes.NewReader(reply.Body)).Decode(into); err != nil {
		return fmt.Errorf("%s: reply: %w", r.URL, err)
	}
	return nil
}

func failure(body []byte) error {
	var answer wire.Error
	if err := json.Unmarshal(body, &answer); err != nil || answer.Code == "" {
		return errors.New("the reply is not a controller's")
	}
	return &answer
}
