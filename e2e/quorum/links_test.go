package quorum_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// queued bounds what one direction of a connection holds while its link is cut: the rest stays with the sender, as in a
// real network.
const queued = 64

// network is what lies between the controllers: each is reached at doors of the network's, and whatever it is sent passes
// through the link from its sender. A link that is cut holds what is on it until it is mended, as TCP does when packets
// go missing, and tells neither end.
type network struct {
	// who names the controller that has opened a connection from an address to a door.
	who func(from, door net.Addr) (string, error)

	ctx    context.Context //nolint:containedctx // the life of the network
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	links   map[link]*state
	changed chan struct{} // closed when a link has changed
	doors   []net.Listener
	pipes   map[*pipe]struct{}
}

// link is the way from one controller to another.
type link struct{ from, to string }

// state is how a link is. Faults overlap, so that they are counted.
type state struct {
	cuts  int
	delay time.Duration
}

func newNetwork(who func(from, door net.Addr) (string, error)) *network {
	ctx, cancel := context.WithCancel(context.Background())
	return &network{who: who, ctx: ctx, cancel: cancel, links: map[link]*state{}, changed: make(chan struct{}), pipes: map[*pipe]struct{}{}}
}

// open makes a door of the controller to at address, behind which is its own.
func (n *network) open(to, address, behind string) error {
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.doors = append(n.doors, listener)
	n.mu.Unlock()
	n.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.work.Go(func() { n.serve(conn, to, behind) })
		}
	})
	return nil
}

// shut takes a door away, and breaks what goes through it.
func (n *network) shut(address string) error {
	n.mu.Lock()
	var err error
	n.doors = slices.DeleteFunc(n.doors, func(door net.Listener) bool {
		if door.Addr().String() != address {
			return false
		}
		err = errors.Join(err, door.Close())
		return true
	})
	var broken []*pipe
	for p := range n.pipes {
		if p.near.LocalAddr().String() == address {
			broken = append(broken, p)
		}
	}
	n.mu.Unlock()
	for _, p := range broken {
		p.end()
	}
	return err
}

// close ends all that passes, and waits for it.
func (n *network) close() error {
	n.cancel()
	n.mu.Lock()
	var failures []error
	for _, door := range n.doors {
		failures = append(failures, door.Close())
	}
	n.mu.Unlock()
	n.reset(func(link) bool { return true })
	n.work.Wait()
	return errors.Join(failures...)
}

// cut cuts links, or mends them where by is -1.
func (n *network) cut(by int, links ...link) {
	n.change(func(s *state) { s.cuts += by }, links)
}

// slow makes what passes later by so much; less than nothing takes that back.
func (n *network) slow(by time.Duration, links ...link) {
	n.change(func(s *state) { s.delay += by }, links)
}

func (n *network) change(do func(*state), links []link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		if n.links[l] == nil {
			n.links[l] = &state{}
		}
		do(n.links[l])
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// reset breaks the connections on some links: both ends are told.
func (n *network) reset(on func(link) bool) {
	n.mu.Lock()
	var broken []*pipe
	for p := range n.pipes {
		if on(p.there) {
			broken = append(broken, p)
		}
	}
	n.mu.Unlock()
	for _, p := range broken {
		p.end()
	}
}

// mended waits until a link is not cut.
func (n *network) mended(ctx context.Context, l link) error {
	for {
		n.mu.Lock()
		open, changed := n.links[l] == nil || n.links[l].cuts <= 0, n.changed
		n.mu.Unlock()
		if open {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *network) delay(l link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[l] == nil {
		return 0
	}
	return n.links[l].delay
}

// pipe is one connection.
type pipe struct {
	net         *network
	ctx         context.Context //nolint:containedctx // the life of the connection
	end         context.CancelFunc
	there, back link
	near        net.Conn
	behind      string

	mu  sync.Mutex
	far net.Conn // nil until something has come through to the other side
}

func (n *network) serve(conn net.Conn, to, behind string) {
	from, err := n.who(conn.RemoteAddr(), conn.LocalAddr())
	if err != nil {
		_ = conn.Close() // its process has ended meanwhile
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	p := &pipe{net: n, ctx: ctx, end: cancel, there: link{from, to}, back: link{to, from}, near: conn, behind: behind}
	n.mu.Lock()
	n.pipes[p] = struct{}{}
	n.mu.Unlock()
	unhook := context.AfterFunc(ctx, p.hangUp)
	defer func() {
		n.mu.Lock()
		delete(n.pipes, p)
		n.mu.Unlock()
		unhook()
		cancel()
		p.hangUp()
	}()
	var back sync.WaitGroup
	p.carry(conn, p.there, func() (io.Writer, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.far != nil {
			return p.far, nil
		}
		// Only now: who dials through a cut is not heard of at the other end.
		far, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp4", p.behind)
		if err != nil {
			return nil, err
		}
		p.far = far
		back.Go(func() {
			defer p.end()
			p.carry(far, p.back, func() (io.Writer, error) { return conn, nil })
		})
		return far, nil
	})
	p.end()
	back.Wait()
}

// hangUp resets both ends.
func (p *pipe) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range []net.Conn{p.near, p.far} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// Closing is all that can be done; what was not sent is lost, as it should be.
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
}

// parcel is what is on its way, or, without data, the end of it.
type parcel struct {
	data []byte
	due  time.Time
}

// carry brings what is read to the writer, by the link's laws, until one of them ends.
func (p *pipe) carry(from io.Reader, over link, to func() (io.Writer, error)) {
	way := make(chan parcel, queued)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(way)
		for {
			data := make([]byte, 16<<10)
			size, err := from.Read(data)
			if size > 0 {
				select {
				case way <- parcel{data[:size], time.Now().Add(p.net.delay(over))}:
				case <-p.ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	defer reading.Wait()
	defer p.hangUp()
	for next := range way {
		timer := time.NewTimer(time.Until(next.due))
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return
		}
		if p.net.mended(p.ctx, over) != nil {
			return
		}
		writer, err := to()
		if err != nil {
			return
		}
		if _, err := writer.Write(next.data); err != nil {
			return
		}
	}
	// The end of it takes the same way.
	_ = p.net.mended(p.ctx, over)
}
