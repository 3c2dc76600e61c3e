package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// Outside is the name of where the test itself is, in a Way.
const Outside = ""

const (
	// hostAddresses is how many addresses there are for one host, with its own: a /28 of the net's /24.
	hostAddresses = 16
	mostHosts     = 256/hostAddresses - 1
	// ownHost and the parts of a host end before the /28 does, so that nobody takes an address for a broadcast.
	ownHost = 1
)

// Net is a network of hosts, each a network namespace with addresses of its own and no way to anywhere else. They hang
// on one bridge, in a namespace of its own too, or on what NewWideNet puts in its place. The test reaches all of them,
// through an interface that is the only thing outside. The namespaces have no names: the kernel drops them, and the interface with them, when the stack's
// process and what it started have ended, however they did. `nsenter --net=/proc/PID/fd/N` enters one.
type Net struct {
	stack  *Stack
	home   *os.File
	bridge *os.File
	leg    string
	hosts  []*Host
	// wide stands for the bridge where there is a delay.
	wide *wide

	mu   sync.Mutex
	cuts map[Way]bool
}

// Host is one of them.
type Host struct {
	net    *Net
	name   string
	number int
	space  *os.File

	mu   sync.Mutex
	next int
}

// Way is from one host to another, or Outside: what is sent the other way goes another way.
type Way struct {
	From, To string
	// Port narrows it to what belongs to TCP connections to this port, whichever end sends; 0 is everything.
	Port int
}

// NewNet makes a network of hosts with these names. It takes root; nothing is placed on them yet, see Place.
func (s *Stack) NewNet(ctx context.Context, names ...string) (*Net, error) {
	return s.newNet(ctx, nil, names)
}

func (s *Stack) newNet(ctx context.Context, far *wide, names []string) (*Net, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces have to be made: run as root")
	}
	if len(names) > mostHosts {
		return nil, fmt.Errorf("%d hosts: a net has addresses for %d", len(names), mostHosts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.net != nil {
		return nil, errors.New("the stack is closed or has a net already: a stack has one")
	}
	n := &Net{stack: s, leg: fmt.Sprintf("sy%d", s.block), wide: far, cuts: map[Way]bool{}}
	err := n.build(ctx, names)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a network: %w", err), n.close())
	}
	s.net = n
	return n, nil
}

func (n *Net) build(ctx context.Context, names []string) (err error) {
	if n.home, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	// Nobody else has this stack's block: an interface of that name is left from one that was killed.
	_ = ipBatch(ctx, n.home, n.home, "link del "+n.leg)
	if err := n.free(); err != nil {
		return err
	}
	if n.wide != nil {
		err = n.wide.join(ctx, n.home, n.home, n.leg, n.address(0, ownHost))
	} else {
		err = n.makeBridge(ctx)
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == Outside || n.Host(name) != nil {
			return fmt.Errorf("a host is named %q: give each a name of its own", name)
		}
		if err := n.addHost(ctx, name); err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
	}
	if n.wide != nil {
		n.wide.run()
	}
	return nil
}

func (n *Net) makeBridge(ctx context.Context) (err error) {
	if n.bridge, err = newNamespace(n.home); err != nil {
		return err
	}
	if err := ipBatch(ctx, n.home, n.home, "link add "+n.leg+" type veth peer name test netns "+pathOf(n.bridge),
		fmt.Sprintf("addr add %s/24 dev %s", n.address(0, ownHost), n.leg), "link set "+n.leg+" up"); err != nil {
		return err
	}
	return ipBatch(ctx, n.home, n.bridge, "link set lo up", "link add br0 type bridge forward_delay 0", "link set br0 up",
		"link set test master br0 up")
}

func (n *Net) addHost(ctx context.Context, name string) error {
	h := &Host{net: n, name: name, number: len(n.hosts) + 1, next: ownHost + 1}
	var err error
	if h.space, err = newNamespace(n.home); err != nil {
		return err
	}
	n.hosts = append(n.hosts, h)
	if n.wide != nil {
		return errors.Join(ipBatch(ctx, n.home, h.space, "link set lo up"),
			n.wide.join(ctx, n.home, h.space, "eth0", h.Address()))
	}
	port := fmt.Sprintf("host%d", h.number)
	if err := ipBatch(ctx, n.home, h.space, "link set lo up",
		"link add eth0 type veth peer name "+port+" netns "+pathOf(n.bridge),
		fmt.Sprintf("addr add %s/24 dev eth0", h.Address()), "link set eth0 up"); err != nil {
		return err
	}
	return ipBatch(ctx, n.home, n.bridge, "link set "+port+" master br0 up")
}

// free holds that this machine is in no network that has these addresses.
func (n *Net) free() error {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	ours := net.IPNet{IP: net.ParseIP(n.address(0, 0)), Mask: net.CIDRMask(24, 32)}
	for _, a := range addresses {
		if own, ok := a.(*net.IPNet); ok && ours.Contains(own.IP) {
			return fmt.Errorf("this machine has %s, where the hosts' addresses would be: run it again for others", own)
		}
	}
	return nil
}

// address is a private one, since no other may be told to a controller without TLS.
func (n *Net) address(host, number int) string {
	return fmt.Sprintf("10.%d.213.%d", n.stack.block, host*hostAddresses+number)
}

// of is every address of a host, or of the test.
func (n *Net) of(host string) string {
	number := 0
	if h := n.Host(host); h != nil {
		number = h.number
	}
	return fmt.Sprintf("%s/28", n.address(number, 0))
}

// Host is the one with a name, nil for none.
func (n *Net) Host(name string) *Host {
	for _, h := range n.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// Place has the parts of the stack that are started with this name run on a host, with an address of their own there.
func (n *Net) Place(part, host string) error {
	h := n.Host(host)
	if h == nil {
		return fmt.Errorf("%s cannot be placed: the net has no host %q", part, host)
	}
	n.stack.mu.Lock()
	defer n.stack.mu.Unlock()
	n.stack.places[part] = h
	return nil
}

// Leg is the name of the interface outside.
func (n *Net) Leg() string { return n.leg }

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// Address is the host's own, from which its programs call others.
func (h *Host) Address() string { return h.net.address(h.number, ownHost) }

// newAddress gives the host a further address, for one of its parts.
func (h *Host) newAddress() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next >= hostAddresses-1 {
		return "", fmt.Errorf("the addresses of host %s are used up: place less on it", h.name)
	}
	ip := h.net.address(h.number, h.next)
	h.next++
	return ip, ipBatch(context.Background(), h.net.home, h.space, fmt.Sprintf("addr add %s/24 dev eth0", ip))
}

// Dial connects as a program on the host does. It fits where a dialer's function is asked for.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	return conn, within(h.net.home, h.space, func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
}

// Listen listens as a program on the host does.
func (h *Host) Listen(network, address string) (listener net.Listener, err error) {
	return listener, within(h.net.home, h.space, func() error {
		listener, err = net.Listen(network, address)
		return err
	})
}

// Run runs a command on the host and returns what it said.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	return runWithin(ctx, h.net.home, h.space, "", name, args...)
}

// Between is both ways between two hosts.
func Between(a, b string) []Way { return []Way{{From: a, To: b}, {From: b, To: a}} }

// Only narrows ways to what belongs to connections to these ports.
func Only(ways []Way, ports ...int) (narrow []Way) {
	for _, way := range ways {
		for _, port := range ports {
			narrow = append(narrow, Way{From: way.From, To: way.To, Port: port})
		}
	}
	return narrow
}

// Around is all ways between these hosts and the others, the test among them. They still reach each other.
func (n *Net) Around(hosts ...string) (ways []Way) {
	others := []string{Outside}
	for _, h := range n.hosts {
		others = append(others, h.name)
	}
	for _, inside := range hosts {
		for _, other := range others {
			if !slices.Contains(hosts, other) {
				ways = append(ways, Between(inside, other)...)
			}
		}
	}
	return ways
}

// Cut loses all that is sent these ways, at who would receive it: nobody is told anything, connections stay open.
func (n *Net) Cut(ctx context.Context, ways ...Way) error { return n.change(ctx, true, ways) }

// Heal ends cuts; without a way named, all of them.
func (n *Net) Heal(ctx context.Context, ways ...Way) error {
	if len(ways) == 0 {
		n.mu.Lock()
		for way := range n.cuts {
			ways = append(ways, way)
		}
		n.mu.Unlock()
	}
	return n.change(ctx, false, ways)
}

func (n *Net) change(ctx context.Context, cut bool, ways []Way) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var at []*Host
	for _, way := range ways {
		for _, name := range []string{way.From, way.To} {
			if name != Outside && n.Host(name) == nil {
				return fmt.Errorf("the net has no host %q", name)
			}
		}
		if way.From == way.To {
			return fmt.Errorf("%q cannot be cut off from itself", way.From)
		}
		if cut {
			n.cuts[way] = true
		} else {
			delete(n.cuts, way)
		}
		if h := n.enforcer(way); !slices.Contains(at, h) {
			at = append(at, h)
		}
	}
	failures := make([]error, len(at))
	var group sync.WaitGroup
	for i, h := range at {
		rules := n.rules(h)
		group.Go(func() { failures[i] = h.filter(ctx, rules) })
	}
	group.Wait()
	return errors.Join(failures...)
}

// enforcer is who loses what is sent that way: its receiver, since one that cannot send is told so by its own kernel.
// Outside is no place for rules.
func (n *Net) enforcer(way Way) *Host {
	if way.To == Outside {
		return n.Host(way.From)
	}
	return n.Host(way.To)
}

// rules are all that hold at a host.
func (n *Net) rules(h *Host) string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for way := range n.cuts {
		if n.enforcer(way) != h {
			continue
		}
		rule := fmt.Sprintf("-A INPUT -i eth0 -s %s", n.of(way.From))
		if way.To == Outside {
			rule = fmt.Sprintf("-A OUTPUT -o eth0 -d %s", n.of(Outside))
		}
		if way.Port == 0 {
			fmt.Fprintf(&b, "%s -j DROP\n", rule)
			continue
		}
		for _, end := range []string{"--dport", "--sport"} {
			fmt.Fprintf(&b, "%s -p tcp %s %d -j DROP\n", rule, end, way.Port)
		}
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

func (h *Host) filter(ctx context.Context, rules string) error {
	_, err := runWithin(ctx, h.net.home, h.space, rules, "iptables-restore", "-w")
	return err
}

// close removes the interface outside at once, and leaves the rest to the kernel.
func (n *Net) close() error {
	var failures []error
	if n.bridge != nil {
		failures = append(failures, ipBatch(context.Background(), n.home, n.home, "link del "+n.leg))
	}
	if n.wide != nil {
		failures = append(failures, n.wide.close())
	}
	for _, h := range n.hosts {
		failures = append(failures, h.space.Close())
	}
	for _, file := range []*os.File{n.bridge, n.home} {
		if file != nil {
			failures = append(failures, file.Close())
		}
	}
	return errors.Join(failures...)
}
