package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// Resolver answers questions of DNS; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Namer gives every server one name, whatever it is called elsewhere. It may
// be used by several goroutines.
type Namer struct {
	rules    rules
	resolver Resolver

	mu sync.Mutex
	// aliases leads from any name of a server to its canonical one.
	aliases map[topology.Key]topology.Key
	known   map[identity]topology.Key
	holders map[topology.Key]holder
	// kept are names that the ledger uses: a server never loses one of them.
	kept map[topology.Key]bool
	// remarks are what could not be named as wanted, by address.
	remarks map[topology.Key]string
	// turn counts the servers described, and dates the holders without a clock.
	turn uint64
}

// identity tells servers apart, however they were reached. A copied data
// directory brings its server_uuid along, so that alone is not enough.
type identity struct {
	uuid       string
	serverID   uint32
	hostname   string
	reportHost string
	port       uint16
}

// holder is the server that has a canonical name, and where it was reached.
type holder struct {
	id      identity
	address topology.Key
	turn    uint64
}

// New checks the configuration.
func New(cfg Config, resolver Resolver) (*Namer, error) {
	r, err := cfg.compile()
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	return &Namer{
		rules:    r,
		resolver: resolver,
		aliases:  map[topology.Key]topology.Key{},
		known:    map[identity]topology.Key{},
		holders:  map[topology.Key]holder{},
		kept:     map[topology.Key]bool{},
		remarks:  map[topology.Key]string{},
	}, nil
}

// Seeds returns the servers to start from, those that are to be ignored left out.
func (n *Namer) Seeds() []topology.Key {
	return slices.DeleteFunc(slices.Clone(n.rules.seeds), n.rules.ignored)
}

// Resolve returns the canonical name of a server that another server, the
// operator or the ledger calls raw, and whether it is to be left alone. A name
// that is not known yet is returned as it is.
func (n *Namer) Resolve(raw topology.Key) (key topology.Key, ignored bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	raw = normalise(raw)
	key = n.resolve(raw)
	return key, n.rules.ignored(raw) || n.rules.ignored(key)
}

func (n *Namer) resolve(raw topology.Key) topology.Key {
	if key, ok := n.aliases[raw]; ok {
		return key
	}
	return raw
}

// Keep marks names that the ledger uses, so that they stay canonical.
func (n *Namer) Keep(keys ...topology.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		key = normalise(key)
		if n.kept[key] {
			continue
		}
		n.kept[key] = true
		if now := n.resolve(key); now != key && !n.kept[now] {
			n.rename(now, key)
		}
	}
}

// Describe returns a copy of an instance that was read at an address, with
// its canonical name and its place filled in, and learns the server's names.
func (n *Namer) Describe(ctx context.Context, address topology.Key, i *topology.Instance) *topology.Instance {
	address = normalise(address)
	out := *i
	out.Address = address
	out.Key = n.name(ctx, address, i)
	out.DataCenter = n.rules.dataCenter.place(out.Key, address, i.DataCenter)
	out.Region = n.rules.region.place(out.Key, address, i.Region)
	return &out
}

func (n *Namer) name(ctx context.Context, address topology.Key, i *topology.Instance) topology.Key {
	id := identify(address, i)
	n.mu.Lock()
	key, known := n.known[id]
	if known && n.aliases[address] == key {
		n.turn++
		n.holders[key] = holder{id: id, address: address, turn: n.turn}
		n.mu.Unlock()
		return key
	}
	n.mu.Unlock()
	want, remark := n.wanted(ctx, address, i) // may ask DNS: not under the lock

	n.mu.Lock()
	defer n.mu.Unlock()
	n.turn++
	delete(n.remarks, address)
	if remark != "" {
		n.remarks[address] = remark
	}
	return n.settle(address, id, want)
}

// wanted is the name that the mode calls for.
func (n *Namer) wanted(ctx context.Context, address topology.Key, i *topology.Instance) (topology.Key, string) {
	port := address.Port
	if i.ReportPort != 0 {
		port = i.ReportPort
	}
	switch n.rules.naming {
	case ByReportHost:
		if i.ReportHost != "" {
			return normalise(topology.Key{Host: i.ReportHost, Port: port}), ""
		}
	case ByHostname:
		if i.Hostname != "" {
			return normalise(topology.Key{Host: i.Hostname, Port: port}), ""
		}
	case ByDNS:
		host, err := n.canonicalHost(ctx, address.Host)
		if err != nil {
			return address, fmt.Sprintf("%s: no canonical DNS name, named by its address: %v", address, err)
		}
		return normalise(topology.Key{Host: host, Port: address.Port}), ""
	}
	return address, ""
}

func (n *Namer) canonicalHost(ctx context.Context, host string) (string, error) {
	if _, err := netip.ParseAddr(host); err != nil {
		name, err := n.resolver.LookupCNAME(ctx, host)
		if err != nil || name == "" {
			return host, err
		}
		return name, nil
	}
	names, err := n.resolver.LookupAddr(ctx, host)
	if err != nil || len(names) == 0 {
		return host, err
	}
	return slices.Min(names), nil
}

// settle decides the name of the server id, reached at address, and records it.
func (n *Namer) settle(address topology.Key, id identity, want topology.Key) topology.Key {
	key := want
	old, named := n.known[id]
	if named {
		key = n.better(key, old)
	}
	if n.kept[address] {
		key = n.better(key, address)
	}
	if h, taken := n.takenByOther(key, address, id); taken && key != address {
		n.remarks[address] = fmt.Sprintf("%s: calls itself %s, as does the server at %s, and is named otherwise; "+
			"give each server a report_host and port of its own", address, key, h.address)
		if key = address; named {
			key = old
		}
	}
	n.vacate(key, address, id)
	if named && old != key {
		n.rename(old, key)
	}
	n.known[id] = key
	n.holders[key] = holder{id: id, address: address, turn: n.turn}
	n.aliases[address] = key
	n.aliases[key] = key
	return key
}

// takenByOther returns the holder of a name if it is another server that was
// reached elsewhere, and still is: one that was not described while every
// server was several times over is gone, and this is its successor.
func (n *Namer) takenByOther(key, address topology.Key, id identity) (holder, bool) {
	h, held := n.holders[key]
	if !held || h.id == id || h.address == address {
		return h, false
	}
	return h, n.turn-h.turn <= uint64(64+16*len(n.holders))
}

// vacate takes a name from any server but id, which is reached at address. One
// that still lives only claimed the name, and goes by its own address.
func (n *Namer) vacate(key, address topology.Key, id identity) {
	h, held := n.holders[key]
	if !held || h.id == id {
		return
	}
	if _, lives := n.takenByOther(key, address, id); !lives || h.address == key {
		delete(n.holders, key)
		delete(n.known, h.id)
		return
	}
	n.remarks[h.address] = fmt.Sprintf("%s: calls itself %s, where another server answers: named by its address; "+
		"correct its report_host or report_port", h.address, key)
	n.vacate(h.address, h.address, h.id)
	n.rename(key, h.address)
}

// better chooses between two names of one server: what the ledger uses, then
// what is configured; then, so that all controllers choose alike, what the
// server itself says (want), or the first in order where names are addresses.
func (n *Namer) better(want, old topology.Key) topology.Key {
	rank := func(k topology.Key) int {
		if n.kept[k] {
			return 0
		}
		if slices.Contains(n.rules.seeds, k) {
			return 1
		}
		return 2
	}
	switch w, o := rank(want), rank(old); {
	case w == 0 || o == 0 || n.rules.naming == ByAddress:
		if w != o {
			if w < o {
				return want
			}
			return old
		}
		if old.Compare(want) < 0 {
			return old
		}
	}
	return want
}

// rename moves everything from one canonical name to another.
func (n *Namer) rename(from, to topology.Key) {
	if h, ok := n.holders[from]; ok {
		delete(n.holders, from)
		n.holders[to] = h
		n.known[h.id] = to
	}
	for alias, key := range n.aliases {
		if key == from {
			n.aliases[alias] = to
		}
	}
	n.aliases[from] = to
	n.aliases[to] = to
}

// Match looks by DNS whether a name that could not be reached is another name
// of one of the servers given, and if so remembers it.
func (n *Namer) Match(ctx context.Context, raw topology.Key, servers []topology.Key) bool {
	raw = normalise(raw)
	if n.rules.naming == ByAddress {
		return false
	}
	mine := n.addresses(ctx, raw.Host)
	if len(mine) == 0 {
		return false
	}
	var found []topology.Key
	for _, k := range servers {
		if k = normalise(k); k.Port != raw.Port || k == raw {
			continue
		}
		if slices.ContainsFunc(n.addresses(ctx, k.Host), func(a string) bool { return slices.Contains(mine, a) }) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, named := n.holders[raw]; named || n.kept[raw] {
		return false
	}
	n.aliases[raw] = n.resolve(found[0])
	return true
}

func (n *Namer) addresses(ctx context.Context, host string) []string {
	if a, err := netip.ParseAddr(host); err == nil {
		return []string{a.String()}
	}
	list, err := n.resolver.LookupHost(ctx, host)
	if err != nil {
		return nil // a name without an address matches nothing
	}
	return list
}

func identify(address topology.Key, i *topology.Instance) identity {
	id := identity{hostname: i.Hostname, reportHost: i.ReportHost, port: i.ReportPort}
	if id.port == 0 {
		id.port = address.Port
	}
	if i.Flavor == gtid.MySQL && i.UUID != "" {
		id.uuid = i.UUID
	} else {
		id.serverID = i.ServerID
	}
	return id
}

// normalise writes a name as DNS compares it.
func normalise(k topology.Key) topology.Key {
	k.Host = strings.ToLower(strings.TrimSuffix(k.Host, "."))
	if a, err := netip.ParseAddr(k.Host); err == nil {
		k.Host = a.Unmap().String()
	}
	return k
}
