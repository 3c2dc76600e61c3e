package witness

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// MaxReply is the longest account that is read, in bytes.
const MaxReply = 16 << 20

// margin is what is left of the time for the answer's way back.
const margin = 20 * time.Millisecond

// NewClient returns a client that keeps its connections, and reads no more
// than an account may have. Over is for peers with an https URL; nil verifies
// them by the system's roots.
func NewClient(over *tls.Config) *fasthttp.Client {
	return &fasthttp.Client{
		TLSConfig:                over,
		NoDefaultUserAgentHeader: true,
		MaxResponseBodySize:      MaxReply,
		MaxIdleConnDuration:      time.Minute,
		// What is sent twice is decided here, where it is known to do no harm.
		MaxIdemponentCallAttempts: 1,
	}
}

// ask puts the question to one peer.
func (a *Asker) ask(peer Peer, q Question, deadline time.Time) Answer {
	answer := Answer{Observer: peer.ID}
	request := wire.WitnessRequest{
		Asker: a.cfg.Self, Cluster: q.Cluster, Servers: servers(q),
		WaitMS: int(min(max(1, (time.Until(deadline)-margin).Milliseconds()), wire.MaxWitnessWaitMS)),
	}
	reply, err := a.send(peer, request, deadline)
	if err == nil {
		err = check(reply, peer, request.Servers)
	}
	if err != nil {
		answer.Err = fmt.Errorf("controller %s: %w", peer.ID, err)
		a.log.Debug("no account", "controller", peer.ID, "error", err.Error())
		return answer
	}
	answer.View, answer.boot = reply.View, reply.Boot
	return answer
}

// servers are all that are asked about, the master first, each once.
func servers(q Question) []topology.Key {
	list := make([]topology.Key, 0, len(q.Servers)+1)
	for _, key := range append([]topology.Key{q.Master}, q.Servers...) {
		if !key.IsZero() && !slices.Contains(list, key) {
			list = append(list, key)
		}
	}
	return list
}

func (a *Asker) send(peer Peer, question wire.WitnessRequest, deadline time.Time) (wire.WitnessReply, error) {
	var reply wire.WitnessReply
	body, err := json.Marshal(question)
	if err != nil {
		return reply, fmt.Errorf("encode the question: %w", err)
	}
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	nonce := rand.Text()
	request.SetRequestURI(peer.URL + wire.PathWitness)
	request.Header.SetMethod(fasthttp.MethodPost)
	request.Header.SetContentType("application/json")
	request.Header.Set(wire.HeaderNonce, nonce)
	request.Header.Set(wire.HeaderSignature,
		wire.SignRequest(a.cfg.Secret, fasthttp.MethodPost, wire.PathWitness, nonce, body))
	request.SetBodyRaw(body)

	err = a.client.DoDeadline(request, response, deadline)
	if err != nil && !errors.Is(err, fasthttp.ErrTimeout) && !errors.Is(err, fasthttp.ErrBodyTooLarge) &&
		time.Now().Before(deadline) {
		// A kept connection may have been closed at the other end; to look twice does no harm.
		err = a.client.DoDeadline(request, response, deadline)
	}
	if err != nil {
		return reply, fmt.Errorf("ask at %s: %w", peer.URL, err)
	}
	return a.open(response, nonce)
}

// open reads a reply that a holder of the secret has signed for this question.
// It is not strict about members that it does not know: while controllers are
// upgraded one by one, the newer ones must still be heard.
func (a *Asker) open(response *fasthttp.Response, nonce string) (wire.WitnessReply, error) {
	var reply wire.WitnessReply
	body := response.Body()
	if status := response.StatusCode(); status != fasthttp.StatusOK {
		var failure wire.Error
		if err := json.Unmarshal(body, &failure); err != nil || failure.Code == "" {
			return reply, fmt.Errorf("status %d, and not a controller's answer: check its url", status)
		}
		return reply, fmt.Errorf("status %d: %w", status, &failure)
	}
	want := wire.SignReply(a.cfg.Secret, nonce, response.StatusCode(), body)
	if !wire.VerifySignature(a.cfg.Secret, string(response.Header.Peek(wire.HeaderSignature)), want) {
		return reply, errors.New("its reply is not signed with the controllers' shared secret")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&reply); err != nil {
		return reply, fmt.Errorf("reply: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return reply, errors.New("reply: something follows the account")
	}
	return reply, nil
}

// check says why a reply is not an account of what was asked.
func check(reply wire.WitnessReply, peer Peer, asked []topology.Key) error {
	if reply.Witness != peer.ID || reply.View.Observer != peer.ID {
		return fmt.Errorf("the controller at %s calls itself %q, and its view that of %q: correct the ids",
			peer.URL, reply.Witness, reply.View.Observer)
	}
	for _, key := range asked {
		o, ok := reply.View.Observations[key]
		if !ok {
			return fmt.Errorf("its account leaves out %s", key)
		}
		if err := sound(key, o); err != nil {
			return fmt.Errorf("its account of %s: %w", key, err)
		}
	}
	if len(reply.View.Observations) != len(asked) {
		return fmt.Errorf("its account has %d servers, asked about %d", len(reply.View.Observations), len(asked))
	}
	return nil
}

// sound says why an observation cannot be what a controller of this version
// means by one.
func sound(key topology.Key, o topology.Observation) error {
	switch o.Reach {
	case topology.ReachOK:
		if o.Instance == nil {
			return errors.New("it is said to have answered, and nothing was read")
		}
	case topology.ReachRefused, topology.ReachTimeout, topology.ReachHung, topology.ReachBroken,
		topology.ReachDenied, topology.ReachError, topology.ReachUnresolved:
		if o.Instance != nil {
			return fmt.Errorf("it is said to be %s, and something was read", o.Reach)
		}
	default:
		return fmt.Errorf("reach %q is not known here", o.Reach)
	}
	if o.Key != key {
		return fmt.Errorf("it is about %s", o.Key)
	}
	if o.Begun.IsZero() || o.Ended.IsZero() || o.Stalled < 0 || o.Still < 0 || o.Write != nil && o.Write.For < 0 {
		return errors.New("its times are impossible")
	}
	return nil
}
