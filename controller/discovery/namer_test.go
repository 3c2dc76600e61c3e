package discovery_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/discovery"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// dns is a resolver with a fixed answer for every question.
type dns struct {
	hosts map[string][]string
	names map[string]string
}

var errNoName = errors.New("no such name")

func (d dns) LookupHost(_ context.Context, host string) ([]string, error) {
	if list, ok := d.hosts[host]; ok {
		return list, nil
	}
	return nil, errNoName
}

func (d dns) LookupCNAME(_ context.Context, host string) (string, error) {
	if name, ok := d.names[host]; ok {
		return name, nil
	}
	return "", errNoName
}

func (d dns) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if name, ok := d.names[addr]; ok {
		return []string{"zz.other.", name}, nil
	}
	return nil, errNoName
}

// fataler is what tests and property tests have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func namer(t fataler, cfg discovery.Config, d dns) *discovery.Namer {
	t.Helper()
	n, err := discovery.New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func key(t fataler, text string) topology.Key {
	t.Helper()
	k, err := topology.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mysqlServer(uuid, reportHost string) *topology.Instance {
	return &topology.Instance{
		Flavor: gtid.MySQL, UUID: uuid, ServerID: 7, Hostname: "box", ReportHost: reportHost, ReportPort: 3306,
	}
}

func TestNaming(t *testing.T) {
	d := dns{names: map[string]string{"db1": "db1.example.org.", "10.0.0.1": "aa.example.org."}}
	full := &topology.Instance{Flavor: gtid.MariaDB, ServerID: 1, Hostname: "Box1", ReportHost: "Rep1.", ReportPort: 3307}
	bare := &topology.Instance{Flavor: gtid.MariaDB, ServerID: 1, Hostname: "box1"}
	for _, tc := range []struct {
		mode     discovery.Mode
		address  string
		instance *topology.Instance
		want     string
	}{
		{discovery.ByReportHost, "10.0.0.1:3306", full, "rep1:3307"},
		{"", "10.0.0.1:3306", full, "rep1:3307"},
		{discovery.ByReportHost, "10.0.0.1:3306", bare, "10.0.0.1:3306"},
		{discovery.ByHostname, "10.0.0.1:3306", full, "box1:3307"},
		{discovery.ByHostname, "10.0.0.1:3306", bare, "box1:3306"},
		{discovery.ByDNS, "10.0.0.1:3306", full, "aa.example.org:3306"},
		{discovery.ByDNS, "db1:3308", full, "db1.example.org:3308"},
		{discovery.ByDNS, "nowhere:3306", full, "nowhere:3306"},
		{discovery.ByAddress, "DB1.:3306", full, "db1:3306"},
	} {
		n := namer(t, discovery.Config{Naming: tc.mode}, d)
		before := *tc.instance
		got := n.Describe(t.Context(), key(t, tc.address), tc.instance)
		if got.Key != key(t, tc.want) {
			t.Errorf("%s at %s: named %s, want %s", tc.mode, tc.address, got.Key, tc.want)
		}
		if got == tc.instance || tc.instance.Key != before.Key {
			t.Errorf("%s: the instance given was changed", tc.mode)
		}
		for _, name := range []string{tc.address, tc.want} {
			if k, _ := n.Resolve(key(t, name)); k != got.Key {
				t.Errorf("%s: %s resolves to %s, want %s", tc.mode, name, k, got.Key)
			}
		}
	}
}

func TestOneServerUnderTwoNamesIsOne(t *testing.T) {
	n := namer(t, discovery.Config{Naming: discovery.ByAddress}, dns{})
	a := n.Describe(t.Context(), key(t, "db1:3306"), mysqlServer("u1", ""))
	b := n.Describe(t.Context(), key(t, "10.0.0.1:3306"), mysqlServer("u1", ""))
	again := n.Describe(t.Context(), key(t, "db1:3306"), mysqlServer("u1", ""))
	if a.Key != key(t, "db1:3306") || b.Key != again.Key {
		t.Fatalf("named %s, then %s, then %s: want one name for both addresses", a.Key, b.Key, again.Key)
	}
	for _, raw := range []string{"db1:3306", "10.0.0.1:3306"} {
		if k, _ := n.Resolve(key(t, raw)); k != b.Key {
			t.Errorf("%s resolves to %s, want %s", raw, k, b.Key)
		}
	}
	// MariaDB has no server_uuid: the id, the host and the port together tell.
	m := &topology.Instance{Flavor: gtid.MariaDB, ServerID: 3, Hostname: "box", ReportPort: 3306}
	x, y := n.Describe(t.Context(), key(t, "m1:3306"), m), n.Describe(t.Context(), key(t, "m2:3306"), m)
	other := *m
	other.ServerID = 4
	z := n.Describe(t.Context(), key(t, "m3:3306"), &other)
	if x.Key != y.Key || z.Key != key(t, "m3:3306") {
		t.Errorf("named %s and %s and %s: want the first two alike", x.Key, y.Key, z.Key)
	}
}

func TestNamesOfTheLedgerStay(t *testing.T) {
	n := namer(t, discovery.Config{Naming: discovery.ByReportHost}, dns{})
	n.Keep(key(t, "db1:3306"))
	got := n.Describe(t.Context(), key(t, "db1:3306"), mysqlServer("u1", "new-name"))
	if got.Key != key(t, "db1:3306") {
		t.Errorf("named %s: the ledger calls it db1:3306", got.Key)
	}
	// A name that the ledger learns later takes over.
	n.Describe(t.Context(), key(t, "10.0.0.2:3306"), mysqlServer("u2", "db2"))
	n.Keep(key(t, "10.0.0.2:3306"))
	if k, _ := n.Resolve(key(t, "db2:3306")); k != key(t, "10.0.0.2:3306") {
		t.Errorf("db2 resolves to %s, want the ledger's name", k)
	}
	if got := n.Describe(t.Context(), key(t, "10.0.0.2:3306"), mysqlServer("u2", "db2")); got.Key != key(t, "10.0.0.2:3306") {
		t.Errorf("named %s, want the ledger's name", got.Key)
	}
}

func TestTwoServersThatClaimOneNameStayTwo(t *testing.T) {
	n := namer(t, discovery.Config{Naming: discovery.ByReportHost}, dns{})
	// A clone of db1's configuration and data directory is found first.
	clone := mysqlServer("u1", "db1")
	clone.Hostname = "box2"
	first := n.Describe(t.Context(), key(t, "db2:3306"), clone)
	genuine := n.Describe(t.Context(), key(t, "db1:3306"), mysqlServer("u1", "db1"))
	again := n.Describe(t.Context(), key(t, "db2:3306"), clone)
	if first.Key != key(t, "db1:3306") || genuine.Key != key(t, "db1:3306") || again.Key != key(t, "db2:3306") {
		t.Errorf("named %s, %s, %s: want db1 to whom it belongs", first.Key, genuine.Key, again.Key)
	}
	servers := []topology.Server{{Key: genuine.Key, Last: genuine}, {Key: again.Key, Last: again}}
	_, problems := n.Assign(servers, nil)
	for _, want := range []string{"correct its report_host", "same server_uuid u1"} {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("problems %q: want one about %q", problems, want)
		}
	}
	// A third one that claims the name is named by its address.
	if third := n.Describe(t.Context(), key(t, "db3:3306"), mysqlServer("u3", "db1")); third.Key != key(t, "db3:3306") {
		t.Errorf("named %s, want db3:3306", third.Key)
	}
}

func TestASuccessorGetsTheNameOfOneThatIsGone(t *testing.T) {
	n := namer(t, discovery.Config{Naming: discovery.ByReportHost}, dns{})
	n.Describe(t.Context(), key(t, "10.0.0.1:3306"), mysqlServer("u1", "db1"))
	n.Describe(t.Context(), key(t, "10.0.0.9:3306"), mysqlServer("u9", "db9"))
	if got := n.Describe(t.Context(), key(t, "10.0.0.2:3306"), mysqlServer("u2", "db1")); got.Key != key(t, "10.0.0.2:3306") {
		t.Errorf("named %s while the first holder lives", got.Key)
	}
	for range 200 { // the others are described again and again, the first holder never
		n.Describe(t.Context(), key(t, "10.0.0.9:3306"), mysqlServer("u9", "db9"))
	}
	if got := n.Describe(t.Context(), key(t, "10.0.0.3:3306"), mysqlServer("u3", "db1")); got.Key != key(t, "db1:3306") {
		t.Errorf("named %s, want the name that is free", got.Key)
	}
}

func TestIgnored(t *testing.T) {
	n := namer(t, discovery.Config{
		Naming: discovery.ByReportHost, Ignore: []string{`^backup\d+:`, `:3399$`},
		Seeds:    []topology.Key{key(t, "backup1:3306"), key(t, "db1:3306")},
		Clusters: map[string][]topology.Key{"main": {key(t, "DB1:3306"), key(t, "db2:3399")}},
	}, dns{})
	if got := n.Seeds(); !slices.Equal(got, []topology.Key{key(t, "db1:3306")}) {
		t.Errorf("seeds %v", got)
	}
	if _, ignored := n.Resolve(key(t, "backup22:3306")); !ignored {
		t.Error("backup22 is not ignored")
	}
	if _, ignored := n.Resolve(key(t, "db1:3306")); ignored {
		t.Error("db1 is ignored")
	}
	// One that is reached under another name is ignored once its own is known.
	n.Describe(t.Context(), key(t, "10.0.0.7:3306"), mysqlServer("u7", "backup7"))
	if _, ignored := n.Resolve(key(t, "10.0.0.7:3306")); !ignored {
		t.Error("10.0.0.7 is backup7, and not ignored")
	}
}

func TestPlaces(t *testing.T) {
	cfg := discovery.Config{
		Naming:            discovery.ByReportHost,
		DataCenters:       map[string]string{"db1.ams": "fixed", "10.0.0.3:3306": "by-address"},
		DataCenterPattern: `\.([a-z]{3})$`, Regions: map[string]string{"db2.fra:3306": "north"},
	}
	n := namer(t, cfg, dns{})
	for _, tc := range []struct{ address, host, dc, region string }{
		{"10.0.0.1:3306", "db1.ams", "fixed", "asked"},
		{"10.0.0.2:3306", "db2.fra", "fra", "north"},
		{"10.0.0.3:3306", "db3.lon", "by-address", "asked"},
		{"10.0.0.4:3306", "db4", "asked", "asked"},
	} {
		i := mysqlServer("u-"+tc.host, tc.host)
		i.DataCenter, i.Region = "asked", "asked"
		got := n.Describe(t.Context(), key(t, tc.address), i)
		if got.DataCenter != tc.dc || got.Region != tc.region {
			t.Errorf("%s is in %q, %q: want %q, %q", tc.host, got.DataCenter, got.Region, tc.dc, tc.region)
		}
	}
}

func TestMatch(t *testing.T) {
	d := dns{hosts: map[string][]string{
		"db1": {"10.0.0.1"}, "db2": {"10.0.0.2"}, "db1-old": {"10.0.0.1", "10.0.0.77"}, "both": {"10.0.0.1", "10.0.0.2"},
	}}
	servers := []topology.Key{key(t, "db1:3306"), key(t, "db2:3306")}
	for _, tc := range []struct {
		mode  discovery.Mode
		raw   string
		want  string
		match bool
	}{
		{discovery.ByReportHost, "10.0.0.1:3306", "db1:3306", true},
		{discovery.ByReportHost, "db1-old:3306", "db1:3306", true},
		{discovery.ByReportHost, "10.0.0.1:3307", "10.0.0.1:3307", false},
		{discovery.ByReportHost, "both:3306", "both:3306", false},
		{discovery.ByReportHost, "nowhere:3306", "nowhere:3306", false},
		{discovery.ByAddress, "10.0.0.1:3306", "10.0.0.1:3306", false},
	} {
		n := namer(t, discovery.Config{Naming: tc.mode}, d)
		if got := n.Match(t.Context(), key(t, tc.raw), servers); got != tc.match {
			t.Errorf("%s: match of %s is %v", tc.mode, tc.raw, got)
		}
		if k, _ := n.Resolve(key(t, tc.raw)); k != key(t, tc.want) {
			t.Errorf("%s: %s resolves to %s, want %s", tc.mode, tc.raw, k, tc.want)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for want, cfg := range map[string]discovery.Config{
		`naming "fqdn": want report_host`:      {Naming: "fqdn"},
		`ignore[1]: error parsing`:             {Ignore: []string{"ok", "("}},
		`cluster_pattern "db" has 0 groups`:    {ClusterPattern: "db"},
		`datacenter_pattern: error parsing`:    {DataCenterPattern: "("},
		`region_pattern "(a)(b)" has 2 groups`: {RegionPattern: "(a)(b)"},
		`cluster name "a b" contains ' '`:      {Clusters: map[string][]topology.Key{"a b": nil}},
		`has 300 characters`:                   {Clusters: map[string][]topology.Key{strings.Repeat("x", 300): nil}},
		`server db1:3306 is in both a and b`: {Clusters: map[string][]topology.Key{
			"a": {{Host: "db1", Port: 3306}}, "b": {{Host: "DB1.", Port: 3306}},
		}},
	} {
		if _, err := discovery.New(cfg, dns{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want %q", err, want)
		}
	}
}

func TestNamesSettle(t *testing.T) {
	// Whatever is described in whatever order, one server has one name in the end, two servers have two, and
	// every address leads to the server that answers there.
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]discovery.Mode{discovery.ByReportHost, discovery.ByHostname, discovery.ByAddress}).Draw(t, "mode")
		n := namer(t, discovery.Config{Naming: mode}, dns{})
		hosts := []string{"", "h1", "h2", "h3"}
		servers := map[int]*topology.Instance{}
		at := map[topology.Key]int{}
		for i := range 4 {
			s := mysqlServer(string(rune('a'+i)), rapid.SampledFrom(hosts).Draw(t, "report"))
			s.Hostname = rapid.SampledFrom(hosts[1:]).Draw(t, "hostname")
			servers[i] = s
		}
		for _, host := range []string{"a1", "a2", "h1", "h2", "h3", "a3"} {
			at[topology.Key{Host: host, Port: 3306}] = rapid.IntRange(0, 3).Draw(t, "server at "+host)
		}
		addresses := rapid.Permutation(slices.SortedFunc(keysOf(at), topology.Key.Compare)).Draw(t, "order")
		named := map[topology.Key]topology.Key{}
		for range 4 {
			for _, address := range addresses {
				named[address] = n.Describe(context.Background(), address, servers[at[address]]).Key
			}
		}
		for a, x := range at {
			for b, y := range at {
				if (x == y) != (named[a] == named[b]) {
					t.Fatalf("%s is server %d named %s, %s is server %d named %s", a, x, named[a], b, y, named[b])
				}
			}
		}
	})
}

func keysOf[V any](m map[topology.Key]V) func(func(topology.Key) bool) {
	return func(yield func(topology.Key) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
