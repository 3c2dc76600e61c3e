//go:build servers

package haproxy_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

var readerSlots = haproxy.Readers{Backend: "shop_readers", Slots: 3}

const readerPort = "3307"

// reading adds an entrance for readers to the configuration.
func reading(c *haproxy.WriterConfig) {
	ip, _, _ := strings.Cut(c.Bind, ":")
	c.Readers = &haproxy.ReaderEntrance{Readers: readerSlots, Bind: ip + ":" + readerPort}
}

func withReaders(c *adapter.Config) { c.Readers = readerSlots }

func (s *site) readerEntrance() string {
	ip, _, _ := net.SplitHostPort(s.entrance)
	return net.JoinHostPort(ip, readerPort)
}

// reads is a table with readers at the addresses.
func reads(revision uint64, writer string, readers ...string) routes.Table {
	table := tableOf(revision, writer)
	for _, text := range readers {
		at := netip.MustParseAddrPort(text)
		table.Readers = append(table.Readers, routes.Reader{Server: routes.Server{Host: at.Addr().String(), Port: at.Port()}, Weight: 1})
	}
	slices.SortFunc(table.Readers, func(a, b routes.Reader) int { return routes.CompareServers(a.Server, b.Server) })
	return table
}

// reached connects to the readers' entrance so often, and says whom it reached.
func (s *site) reached(t *testing.T, times int) (conns map[string]net.Conn) {
	t.Helper()
	conns = map[string]net.Conn{}
	for range times {
		conn, whom := client(t, s.readerEntrance())
		conns[whom] = conn
	}
	return conns
}

func names(conns map[string]net.Conn) []string {
	var out []string
	for whom := range conns {
		out = append(out, whom)
	}
	slices.Sort(out)
	return out
}

func apply(t *testing.T, proxy *adapter.Proxy, table routes.Table) routes.Proof {
	t.Helper()
	proof, err := proxy.Apply(t.Context(), table)
	if err != nil || !proof.Holds || !proof.ReadersHold() {
		t.Fatalf("revision %d: %+v, %+v, %v", table.Revision, proof, proof.Readers, err)
	}
	if read, err := proxy.Read(t.Context(), table); err != nil || !read.Holds || !read.ReadersHold() {
		t.Fatalf("revision %d is read as %+v, %+v, %v", table.Revision, read, read.Readers, err)
	}
	return proof
}

func TestReadersFollowTheTable(t *testing.T) {
	site, ctx := newSite(t, reading)
	c := greeter(t, site.stack)
	proxy := site.adapter(t, withReaders)

	// Withdrawn, and readers are served all the same.
	apply(t, proxy, reads(1, "", site.a, site.b))
	both := site.reached(t, 4)
	if want := sorted(site.a, site.b); !slices.Equal(names(both), want) {
		t.Fatalf("readers reached %v, want %v", names(both), want)
	}
	// The new writer is no reader: its sessions end, and nobody else's.
	proof := apply(t, proxy, reads(2, site.a, site.b))
	if err := ended(both[site.a]); err != nil {
		t.Errorf("a reader's session on the new writer did not end: %v", err)
	}
	if !alive(both[site.b]) || !slices.Equal(proof.Readers.Serving, []string{site.b}) {
		t.Errorf("the other reader's session was ended, or %+v", proof.Readers)
	}
	// Another one comes: neither the writer's sessions nor a reader's are touched.
	writing, whom := client(t, site.entrance)
	if whom != site.a {
		t.Fatalf("the writer is %q", whom)
	}
	apply(t, proxy, reads(3, site.a, site.b, c))
	if !alive(writing) || !alive(both[site.b]) {
		t.Error("a revision that changes readers only has ended sessions that stay")
	}
	if got := names(site.reached(t, 4)); !slices.Equal(got, sorted(site.b, c)) {
		t.Errorf("readers reached %v", got)
	}
	// What somebody changes is seen, put back, and does not touch the writer.
	site.runtime(t, "set server shop_readers/reader3 addr 192.0.2.9 port 1; set server shop_readers/reader3 state ready")
	waitFor(t, ctx, func() bool {
		read, err := proxy.Read(ctx, reads(3, site.a, site.b, c))
		return err == nil && read.Holds && !read.ReadersHold() && strings.Contains(read.Readers.Problem, "reader3")
	})
	apply(t, proxy, reads(3, site.a, site.b, c))
	if !alive(writing) {
		t.Error("the writer's session was ended by a repair of the readers")
	}
}

func sorted(list ...string) []string { return slices.Sorted(slices.Values(list)) }

func TestReaderThatRefusesIsPassedOver(t *testing.T) {
	site, _ := newSite(t, reading)
	ip, err := site.stack.IP(3306)
	must(t, err)
	proxy := site.adapter(t, withReaders)
	apply(t, proxy, reads(1, site.a, site.b, ip+":3306"))
	for range 12 {
		if _, whom := client(t, site.readerEntrance()); whom != site.b {
			t.Fatalf("a reader reached %q", whom)
		}
	}
}

func TestReadersOfTheOwnDatacenterAreFirst(t *testing.T) {
	site, _ := newSite(t, reading)
	proxy := site.adapter(t, func(c *adapter.Config) { withReaders(c); c.Datacenter = "dc1" })
	table := reads(1, "", site.a, site.b)
	for i := range table.Readers {
		table.Readers[i].Datacenter = map[bool]string{true: "dc1", false: "dc2"}[table.Readers[i].Host == netip.MustParseAddrPort(site.a).Addr().String()]
	}
	apply(t, proxy, table)
	if got := names(site.reached(t, 4)); !slices.Equal(got, []string{site.a}) {
		t.Errorf("readers reached %v", got)
	}
	// Its own is not fit any more: the other one takes over.
	table = reads(2, "", site.b)
	table.Readers[0].Datacenter = "dc2"
	apply(t, proxy, table)
	if got := names(site.reached(t, 2)); !slices.Equal(got, []string{site.b}) {
		t.Errorf("readers reached %v", got)
	}
}

// TestReadersThatCannotFollow: nothing of it is the writer's business.
func TestReadersThatCannotFollow(t *testing.T) {
	site, ctx := newSite(t, reading)
	c := greeter(t, site.stack)
	tooMany := reads(1, site.a, site.b, c, "192.0.2.7:1", "192.0.2.8:1")
	unknown := reads(1, site.a, site.b)
	unknown.Readers = append(unknown.Readers, routes.Reader{Server: routes.Server{Host: "nobody.invalid", Port: 1}, Weight: 1})
	for want, test := range map[string]struct {
		config func(*adapter.Config)
		table  routes.Table
	}{
		"raise readers.slots": {withReaders, tooMany},
		"nobody.invalid:1":    {withReaders, unknown},
		"has no server reader4": {func(c *adapter.Config) { c.Readers = haproxy.Readers{Backend: "shop_readers", Slots: 4} },
			reads(1, site.a, site.b)},
		"Can't find backend": {func(c *adapter.Config) { c.Readers = haproxy.Readers{Backend: "nowhere", Slots: 1} },
			reads(1, site.a, site.b)},
	} {
		proxy := site.adapter(t, test.config)
		for name, do := range map[string]func() (routes.Proof, error){
			"apply": func() (routes.Proof, error) { return proxy.Apply(ctx, test.table) },
			"read":  func() (routes.Proof, error) { return proxy.Read(ctx, test.table) },
		} {
			proof, err := do()
			if name == "read" && err == nil && !proof.Serving {
				continue // it was read before it was told
			}
			if err != nil || !proof.Holds || proof.ReadersHold() || !strings.Contains(proof.Readers.Problem, want) {
				t.Errorf("%s: %s: %+v, %+v, %v", want, name, proof, proof.Readers, err)
			}
		}
	}
}

// TestReadersInOldWorkersAreEnded: a reload leaves sessions behind, of which the
// runtime API knows nothing.
func TestReadersInOldWorkersAreEnded(t *testing.T) {
	r, ctx := newReloadedAs(t, "1m", reading)
	proxy := r.adapter(t, func(c *adapter.Config) { withReaders(c); r.withMaster(c) })
	apply(t, proxy, reads(1, "", r.a))
	conn, whom := client(t, r.readerEntrance())
	if whom != r.a {
		t.Fatalf("a reader reached %q", whom)
	}
	r.reload(t, ctx)
	apply(t, proxy, reads(1, "", r.a))
	if !alive(conn) {
		t.Fatal("the reload has ended the session: this test shows nothing")
	}
	apply(t, proxy, reads(2, "", r.b))
	if err := ended(conn); err != nil {
		t.Errorf("the session in the old worker did not end: %v", err)
	}
}
