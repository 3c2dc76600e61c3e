//go:build servers

package quorum_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/store/codec"
	"switchyard/store/ledger"
)

const (
	// patience is how long a client waits for an answer.
	patience = 3 * time.Second
	// pace is how long a client rests between two commands, pause between two readings.
	pace  = 15 * time.Millisecond
	pause = 250 * time.Millisecond
)

// send sends one command, of which there is none like it, through one controller.
func (s *story) send(ctx context.Context, word string, via *node) command {
	body, err := json.Marshal(wire.PauseRequest{Asker: wire.Asker{By: word, Reason: "to see whether it is kept: " + word}})
	c := command{word: word, via: via.id, sent: time.Now()}
	if err == nil {
		c.outcome, c.sentence = ask(ctx, via.url()+wire.PathPause, body)
	}
	c.told = time.Now()
	s.record.told(c)
	return c
}

// ask tells what became of a request. Only what the product itself says was not done counts as refused.
func ask(ctx context.Context, url string, body []byte) (outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := call.Do(ctx, call.Request{Method: http.MethodPost, URL: url, Body: body})
	switch {
	case errors.Is(err, call.ErrUnreachable):
		return refused, err.Error()
	case err != nil:
		return unknown, err.Error()
	case reply.Status == http.StatusOK:
		return done, ""
	}
	var answer wire.Error
	if err := json.Unmarshal(reply.Body, &answer); err != nil {
		return unknown, err.Error()
	}
	said := fmt.Sprintf("%s: %s", answer.Code, answer.Error())
	switch answer.Code {
	case wire.NotLeader, wire.NoLeader, wire.Busy, wire.Unauthorized, wire.Forbidden, wire.Conflict:
		return refused, said
	}
	if strings.Contains(said, "nothing was changed") || strings.Contains(said, "nothing was done") {
		return refused, said
	}
	return unknown, said
}

// write is one client: it stays with a controller that answers and turns to another one when it does not.
func (s *story) write(ctx context.Context, client int) {
	rng := rand.New(rand.NewPCG(s.seed, uint64(client)))
	via := s.nodes[rng.IntN(len(s.nodes))]
	for i := 0; ctx.Err() == nil; i++ {
		c := s.send(context.WithoutCancel(ctx), fmt.Sprintf("%s%d-%d", wordPrefix, client, i), via)
		if c.outcome != done || rng.IntN(20) == 0 {
			via = s.nodes[rng.IntN(len(s.nodes))]
		}
		rest(ctx, pace)
	}
}

// read asks for all that was committed before, in any controller's name; only the leader can say.
func (s *story) read(ctx context.Context) {
	rng := rand.New(rand.NewPCG(s.seed, 0xead))
	for ctx.Err() == nil {
		via := s.nodes[rng.IntN(len(s.nodes))]
		asked := time.Now()
		head, state, err := s.backup(context.WithoutCancel(ctx), via, false)
		if err == nil && head.Leader {
			s.record.readAs(reading{asked: asked, told: time.Now(), last: state.LastAudit, via: head.Controller})
			s.record.see(head.Controller, state.Audit)
			s.record.ofGeneration(head.Controller, state.Generation)
		}
		rest(ctx, pause)
	}
}

// backup is the ledger as the leader has it, or, locally, as a controller has it.
func (s *story) backup(ctx context.Context, via *node, local bool) (head codec.BackupHead, state ledger.State, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	url := via.url() + wire.PathBackup
	if local {
		url += "?local=true"
	}
	reply, err := call.Do(ctx, call.Request{Method: http.MethodGet, URL: url, MaxReply: wire.MaxBackup})
	if err != nil {
		return head, state, err
	}
	if reply.Status != http.StatusOK {
		return head, state, fmt.Errorf("%s: %d: %s", url, reply.Status, reply.Body)
	}
	return codec.DecodeBackup(reply.Body)
}

// rest waits for so long, or until ctx ends.
func rest(ctx context.Context, so time.Duration) {
	timer := time.NewTimer(so)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
