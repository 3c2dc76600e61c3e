// Package witness asks the other controllers what they see, and answers them.
// An account counts only if every observation in it was begun after the
// question: so it is never taken from memory, on either side.
package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/topology"
)

// Client sends HTTP requests on kept connections; *fasthttp.Client is one.
type Client interface {
	DoDeadline(req *fasthttp.Request, resp *fasthttp.Response, deadline time.Time) error
}

// Peer is another controller.
type Peer struct {
	ID string
	// URL is where its door is, without a path.
	URL string
}

// Config is what an asker is told.
type Config struct {
	// Self is this controller's id.
	Self string
	// Peers are the other controllers, now. It may be nil.
	Peers func() []Peer
	// Secret is what the controllers share. It signs, and is never sent.
	Secret string
	// Timeout bounds every question (1 s).
	Timeout time.Duration
	// Linger is how long Ask still waits for the rest once a majority has seen
	// the master dead (10 ms).
	Linger time.Duration
}

// Question is what the others are asked.
type Question struct {
	Cluster string
	// Master is whom the ledger names; it is asked about too.
	Master  topology.Key
	Servers []topology.Key
}

// Answer is one controller's account, or why there is none.
type Answer struct {
	// Observer is the peer's id.
	Observer string
	View     topology.View
	Err      error

	boot string
}

// errNotWaitedFor stands for the account of a controller that may still come.
var errNotWaitedFor = errors.New("it was not waited for")

// Asker asks the other controllers.
type Asker struct {
	cfg    Config
	client Client
	log    *slog.Logger
	// under counts the calls under way, some of which nobody waits for any more.
	under sync.WaitGroup
}

// New checks the configuration.
func New(cfg Config, client Client, log *slog.Logger) (*Asker, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Linger <= 0 {
		cfg.Linger = 10 * time.Millisecond
	}
	if cfg.Self == "" {
		return nil, errors.New("witness: self is empty: give this controller an id")
	}
	if cfg.Peers == nil {
		cfg.Peers = func() []Peer { return nil }
	}
	peers := cfg.Peers()
	if cfg.Secret == "" && len(peers) > 0 {
		return nil, errors.New("witness: secret is empty: give all controllers the same")
	}
	seen := map[string]bool{cfg.Self: true}
	for i, p := range peers {
		if p.ID == "" || seen[p.ID] {
			return nil, fmt.Errorf("witness: peers[%d]: id %q: want an id that no other controller has", i, p.ID)
		}
		seen[p.ID] = true
		u, err := url.Parse(p.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return nil, fmt.Errorf("witness: peers[%d] (%s): url: want http://HOST:PORT or https://HOST:PORT", i, p.ID)
		}
	}
	return &Asker{cfg: cfg, client: client, log: log}, nil
}

// AskUntil asks all other controllers at once, and returns as soon as all have
// answered, the deadline has passed, or what was answered is enough. The order
// of the answers is that in which they came; those that are still missing at
// the deadline are there with an error, those that were not waited for are not.
func (a *Asker) AskUntil(ctx context.Context, q Question, enough func([]Answer) bool) []Answer {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	peers := a.cfg.Peers()
	answers := make(chan Answer, len(peers))
	for _, peer := range peers {
		peer.URL = strings.TrimSuffix(peer.URL, "/")
		a.under.Go(func() { answers <- a.ask(peer, q, deadline) })
	}
	var got []Answer
	for len(got) < len(peers) {
		select {
		case answer := <-answers:
			got = append(got, single(got, answer))
			if enough(got) {
				return got
			}
		case <-ctx.Done():
			return withMissing(peers, got, ctx.Err())
		}
	}
	return got
}

// single refuses the account of a process that has testified already, under
// another id or at another address.
func single(got []Answer, answer Answer) Answer {
	for _, other := range got {
		if answer.Err == nil && other.Err == nil && answer.boot != "" && answer.boot == other.boot {
			answer.Err = fmt.Errorf("controller %s: it is the same process as controller %s: "+
				"give each controller its own address", answer.Observer, other.Observer)
			answer.View = topology.View{}
		}
	}
	return answer
}

func withMissing(peers []Peer, got []Answer, err error) []Answer {
	if errors.Is(err, context.Canceled) {
		err = errNotWaitedFor
	}
	for _, peer := range peers {
		if !slices.ContainsFunc(got, func(g Answer) bool { return g.Observer == peer.ID }) {
			got = append(got, Answer{Observer: peer.ID, Err: fmt.Errorf("controller %s: no answer: %w", peer.ID, err)})
		}
	}
	return got
}

// Ask returns what the other controllers see, and why some of them said
// nothing. Once a majority of all controllers, this one included, sees the
// master dead, the others are not waited for much longer: a controller that is
// cut off must not hold up the rest.
func (a *Asker) Ask(
	ctx context.Context, cluster string, master topology.Key, keys []topology.Key,
) ([]topology.View, []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	needed := (len(a.cfg.Peers()) + 1) / 2 // a majority, less this controller, which sees for itself
	var linger *time.Timer
	defer func() {
		if linger != nil {
			linger.Stop()
		}
	}()
	q := Question{Cluster: cluster, Master: master, Servers: keys}
	answers := a.AskUntil(ctx, q, func(got []Answer) bool {
		dead := 0
		for _, g := range got {
			if o, ok := g.View.Observations[master]; g.Err == nil && ok && o.Reach.Dead() {
				dead++
			}
		}
		if dead >= needed && linger == nil {
			linger = time.AfterFunc(a.cfg.Linger, cancel)
		}
		return false
	})
	var views []topology.View
	var errs []error
	for _, answer := range answers {
		if answer.Err != nil {
			errs = append(errs, answer.Err)
			continue
		}
		views = append(views, answer.View)
	}
	return views, errs
}

// Close waits for the calls that nobody waited for; each ends by its deadline.
func (a *Asker) Close() { a.under.Wait() }
