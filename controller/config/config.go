// Package config reads a controller's one configuration file: strict YAML,
// with secrets from the environment or from files, into typed values with
// their defaults. Every error is one sentence that names the file, the key and
// the remedy.
package config

import (
	"log/slog"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/haproxy"
	"switchyard/router/proxysql"
)

// File is a whole, valid configuration. Paths in it are absolute or relative
// to the working directory; in the file they are relative to the file.
type File struct {
	// Name is the identity of this set of controllers; it guards data directories.
	Name string `yaml:"name"`
	// ID names this controller among Controllers.
	ID         string `yaml:"id"`
	Datacenter string `yaml:"datacenter"`
	DataDir    string `yaml:"data_dir"`
	// Secret is shared by the controllers.
	Secret      Secret       `yaml:"secret"`
	SecretFile  string       `yaml:"secret_file"`
	Controllers []Controller `yaml:"controllers"`
	// Join has a controller that has no state wait until it is added to the others.
	Join      bool       `yaml:"join"`
	Bind      Bind       `yaml:"bind"`
	HTTP      HTTP       `yaml:"http"`
	Raft      Raft       `yaml:"raft"`
	MySQL     MySQL      `yaml:"mysql"`
	Discovery Discovery  `yaml:"discovery"`
	Clusters  []Cluster  `yaml:"clusters"`
	Recovery  Recovery   `yaml:"recovery"`
	Hooks     Hooks      `yaml:"hooks"`
	Consul    []Consul   `yaml:"consul"`
	HAProxy   []HAProxy  `yaml:"haproxy"`
	ProxySQL  []ProxySQL `yaml:"proxysql"`
	Sidecars  Sidecars   `yaml:"sidecars"`
	Log       Log        `yaml:"log"`
}

// Sidecars is how the controllers and the sidecars know each other's calls.
type Sidecars struct {
	// Secret is shared by the controllers and all sidecars; empty where there are
	// none, and then no call of a sidecar is heard.
	Secret     Secret `yaml:"secret"`
	SecretFile string `yaml:"secret_file"`
	// Lease is for how long a controller grants a database sidecar at a time, and
	// Fence the longest fence, with the kill, that such a sidecar may have. Who
	// promotes in the place of a master that is cut off waits for both.
	Lease time.Duration `yaml:"lease"`
	Fence time.Duration `yaml:"fence"`
	// Databases are the sidecars beside database servers.
	Databases []DatabaseSidecar `yaml:"databases"`
}

// DatabaseSidecar is the sidecar beside one database server.
type DatabaseSidecar struct {
	// Server is the server's HOST:PORT as the controllers know it.
	Server string `yaml:"server"`
	// HTTP is http://HOST:PORT of its sidecar.
	HTTP string `yaml:"http"`
}

// Controller is one member of the set, as the others reach it.
type Controller struct {
	ID string `yaml:"id"`
	// Raft is HOST:PORT.
	Raft string `yaml:"raft"`
	// HTTP is http://HOST:PORT or https://HOST:PORT.
	HTTP       string `yaml:"http"`
	Datacenter string `yaml:"datacenter"`
}

// Bind is the addresses that this controller listens on, as HOST:PORT.
type Bind struct {
	Raft string `yaml:"raft"`
	HTTP string `yaml:"http"`
}

// Raft is the timing of the consensus, and how its connections are protected.
type Raft struct {
	// Profile is where the timing comes from that is not given by itself.
	Profile            RaftProfile   `yaml:"profile"`
	HeartbeatTimeout   time.Duration `yaml:"heartbeat_timeout"`
	ElectionTimeout    time.Duration `yaml:"election_timeout"`
	LeaderLeaseTimeout time.Duration `yaml:"leader_lease_timeout"`
	CommitTimeout      time.Duration `yaml:"commit_timeout"`
	TLS                RaftTLS       `yaml:"tls"`
}

func (r *Raft) defaults() { *r = RaftProfile("").timing() }

// RaftProfile names a timing of the consensus.
type RaftProfile string

// The profiles.
const (
	// RaftLAN: a leader that is gone is replaced within a second.
	RaftLAN RaftProfile = "lan"
	// RaftWAN: within three, where 80 ms lie between the controllers.
	RaftWAN RaftProfile = "wan"
)

func (RaftProfile) choices() []string { return []string{"lan", "wan"} }

// timing returns what the profile stands for. A follower that looks just before
// its heartbeat timeout has passed looks again up to two of them later, and
// none votes for another before it misses the leader itself: a leader can be
// missed for three heartbeat timeouts, and then come the connections and votes.
func (p RaftProfile) timing() Raft {
	switch p {
	case RaftLAN:
		return Raft{
			HeartbeatTimeout: 250 * time.Millisecond, ElectionTimeout: 250 * time.Millisecond,
			LeaderLeaseTimeout: 200 * time.Millisecond, CommitTimeout: 5 * time.Millisecond,
		}
	case RaftWAN:
		// A new connection takes half a second at 80 ms each way, and the candidate
		// is to wait for it rather than to begin again.
		return Raft{
			HeartbeatTimeout: 600 * time.Millisecond, ElectionTimeout: time.Second,
			LeaderLeaseTimeout: 500 * time.Millisecond, CommitTimeout: 10 * time.Millisecond,
		}
	}
	return Raft{
		HeartbeatTimeout: 600 * time.Millisecond, ElectionTimeout: 600 * time.Millisecond,
		LeaderLeaseTimeout: 400 * time.Millisecond, CommitTimeout: 5 * time.Millisecond,
	}
}

// MySQL is how the database servers are probed and changed.
type MySQL struct {
	User            string `yaml:"user"`
	Password        Secret `yaml:"password"`
	PasswordFile    string `yaml:"password_file"`
	CredentialsFile string `yaml:"credentials_file"`
	TLS             TLS    `yaml:"tls"`

	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	ProbeTimeout   time.Duration `yaml:"probe_timeout"`
	ProbeInterval  time.Duration `yaml:"probe_interval"`

	LagQuery         string `yaml:"lag_query"`
	DatacenterQuery  string `yaml:"datacenter_query"`
	RegionQuery      string `yaml:"region_query"`
	ClusterNameQuery string `yaml:"cluster_name_query"`

	Replication Replication `yaml:"replication"`
	WriteProbe  WriteProbe  `yaml:"write_probe"`
}

// WriteProbe is the heartbeat row that is written on every master, in a schema
// of our own, to see whether writes succeed.
type WriteProbe struct {
	Enabled  bool          `yaml:"enabled"`
	Schema   string        `yaml:"schema"`
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
}

func (w *WriteProbe) defaults() {
	*w = WriteProbe{Schema: "switchyard", Interval: time.Second, Timeout: time.Second}
}

func (m *MySQL) defaults() {
	m.ConnectTimeout = 500 * time.Millisecond
	m.ProbeTimeout = time.Second
	m.ProbeInterval = time.Second
}

// Replication is what a replica is given when it is pointed to a master.
type Replication struct {
	User            string         `yaml:"user"`
	Password        Secret         `yaml:"password"`
	PasswordFile    string         `yaml:"password_file"`
	TLS             ReplicationTLS `yaml:"tls"`
	HeartbeatPeriod time.Duration  `yaml:"heartbeat_period"`
	ConnectRetry    time.Duration  `yaml:"connect_retry"`
	RetryCount      int            `yaml:"retry_count"`
}

func (r *Replication) defaults() {
	r.HeartbeatPeriod = 500 * time.Millisecond
	r.ConnectRetry = time.Second
	r.RetryCount = 86400
}

// Hostname is how a server's canonical name is found.
type Hostname string

// The ways to find a server's name.
const (
	HostnameReportHost Hostname = "report_host"
	HostnameHostname   Hostname = "hostname"
	HostnameDNS        Hostname = "dns"
	HostnameNone       Hostname = "none"
)

func (Hostname) choices() []string { return []string{"report_host", "hostname", "dns", "none"} }

// Discovery is how servers are found and named.
type Discovery struct {
	Hostname Hostname `yaml:"hostname"`
	// Seeds lead to topologies whose name comes from ClusterNamePattern or
	// from MySQL.ClusterNameQuery.
	Seeds              []topology.Key          `yaml:"seeds"`
	ClusterNamePattern Pattern                 `yaml:"cluster_name_pattern"`
	DatacenterPattern  Pattern                 `yaml:"datacenter_pattern"`
	RegionPattern      Pattern                 `yaml:"region_pattern"`
	Ignore             []Pattern               `yaml:"ignore"`
	Datacenters        map[topology.Key]string `yaml:"datacenters"`
	Regions            map[topology.Key]string `yaml:"regions"`
}

func (d *Discovery) defaults() { d.Hostname = HostnameReportHost }

// Cluster is a replication topology with a fixed name, or the rules of one
// that is found. Where a key is not given that Recovery has too, its value is
// Recovery's.
type Cluster struct {
	Name           string                       `yaml:"name"`
	Seeds          []topology.Key               `yaml:"seeds"`
	PromotionRules map[topology.Key]policy.Rule `yaml:"promotion_rules"`
	SemiSync       policy.SemiSync              `yaml:"semi_sync"`

	AntiFlap               time.Duration                      `yaml:"anti_flap"`
	RestartGrace           time.Duration                      `yaml:"restart_grace"`
	MinStall               time.Duration                      `yaml:"min_stall"`
	Partition              policy.Partition                   `yaml:"partition"`
	UnreachableProxies     policy.Proxies                     `yaml:"unreachable_proxies"`
	PreventCrossDataCenter bool                               `yaml:"prevent_cross_datacenter"`
	PreventCrossRegion     bool                               `yaml:"prevent_cross_region"`
	Backlog                policy.Backlog                     `yaml:"backlog"`
	CoMasterOnly           bool                               `yaml:"co_master_only"`
	MaxLag                 time.Duration                      `yaml:"max_lag"`
	ReasonableLag          time.Duration                      `yaml:"reasonable_lag"`
	FailoverAfter          map[topology.Trouble]time.Duration `yaml:"failover_after"`
	LockedAfter            time.Duration                      `yaml:"locked_after"`
	SemiSyncRepair         policy.SemiSyncRepair              `yaml:"semi_sync_repair"`
	Cascade                Cascade                            `yaml:"cascade"`
	LostDowntime           time.Duration                      `yaml:"lost_downtime"`
	SalvageTimeout         time.Duration                      `yaml:"salvage_timeout"`
	Readers                Readers                            `yaml:"readers"`
}

func (c *Cluster) defaults() { c.SemiSync = policy.SemiSyncAuto }

// Readers is which replicas of a cluster proxies send readers to.
type Readers struct {
	MaxLag     time.Duration `yaml:"max_lag"`
	LeaveAfter time.Duration `yaml:"leave_after"`
	JoinAfter  time.Duration `yaml:"join_after"`
	// Weights are 1 unless named. Those in Exclude are never readers.
	Weights map[topology.Key]int `yaml:"weights"`
	Exclude []topology.Key       `yaml:"exclude"`
	// Writer is whether the writer serves readers while no replica is fit.
	Writer bool `yaml:"writer"`
}

func (r *Readers) defaults() {
	r.MaxLag, r.LeaveAfter, r.JoinAfter = 10*time.Second, 2*time.Second, 5*time.Second
}

// Recovery is which clusters are recovered without asking, and how soon.
type Recovery struct {
	Clusters []Filter `yaml:"clusters"`
	// IntermediateClusters are those whose dead intermediate masters are
	// recovered without asking.
	IntermediateClusters []Filter      `yaml:"intermediate_clusters"`
	AntiFlap             time.Duration `yaml:"anti_flap"`
	RestartGrace         time.Duration `yaml:"restart_grace"`
	MinStall             time.Duration `yaml:"min_stall"`
	// Partition is what to do about a master that not even its host answers for.
	Partition              policy.Partition `yaml:"partition"`
	UnreachableProxies     policy.Proxies   `yaml:"unreachable_proxies"`
	PreventCrossDataCenter bool             `yaml:"prevent_cross_datacenter"`
	PreventCrossRegion     bool             `yaml:"prevent_cross_region"`
	Backlog                policy.Backlog   `yaml:"backlog"`
	CoMasterOnly           bool             `yaml:"co_master_only"`
	MaxLag                 time.Duration    `yaml:"max_lag"`
	ReasonableLag          time.Duration    `yaml:"reasonable_lag"`
	// FailoverAfter has the troubles of a master that answers which are to end in
	// a failover, and how long each must last.
	FailoverAfter  map[topology.Trouble]time.Duration `yaml:"failover_after"`
	LockedAfter    time.Duration                      `yaml:"locked_after"`
	SemiSyncRepair policy.SemiSyncRepair              `yaml:"semi_sync_repair"`
	Cascade        Cascade                            `yaml:"cascade"`
	// LostDowntime is a day by default, not the year of days that others take: who
	// is lost for longer is to be seen again.
	LostDowntime time.Duration `yaml:"lost_downtime"`
	// SalvageTimeout is how long a failover takes for what only the crashed master's
	// binary log has; 0 is not at all.
	SalvageTimeout time.Duration `yaml:"salvage_timeout"`
	// AuditRetention is for how long the audit is kept.
	AuditRetention time.Duration `yaml:"audit_retention"`
}

// Cascade is how many automatic failovers within a window end in a hold.
type Cascade struct {
	Limit  int           `yaml:"limit"`
	Window time.Duration `yaml:"window"`
}

func (r *Recovery) defaults() {
	r.AntiFlap = 10 * time.Minute
	r.RestartGrace = 15 * time.Second
	r.MinStall = 1500 * time.Millisecond
	r.Partition = policy.PartitionHold
	r.UnreachableProxies = policy.ProxiesFast
	r.Backlog = policy.BacklogDelay
	r.ReasonableLag = 10 * time.Second
	r.LockedAfter = 10 * time.Second
	r.SemiSyncRepair = policy.SemiSyncLeave
	r.Cascade = Cascade{Limit: 2, Window: time.Hour}
	r.LostDowntime = 24 * time.Hour
	r.SalvageTimeout = 2 * time.Second
	r.AuditRetention = 90 * 24 * time.Hour
}

// Consul is one datacenter's Consul.
type Consul struct {
	Datacenter string        `yaml:"datacenter"`
	Address    string        `yaml:"address"`
	Token      Secret        `yaml:"token"`
	TokenFile  string        `yaml:"token_file"`
	Prefix     string        `yaml:"prefix"`
	Timeout    time.Duration `yaml:"timeout"`
	TLS        ConsulTLS     `yaml:"tls"`
}

func (c *Consul) defaults() {
	c.Prefix = "mysql/master"
	c.Timeout = time.Second
}

// HAProxy is one cluster's writer on one HAProxy.
type HAProxy struct {
	Name    string `yaml:"name"`
	Cluster string `yaml:"cluster"`
	// Sidecar is http://HOST:PORT of the sidecar beside it, through which the
	// controllers reach it; the sidecar's own file says the rest. Without it,
	// Runtime is tcp://HOST:PORT or unix:///PATH.
	Sidecar string `yaml:"sidecar"`
	Runtime string `yaml:"runtime"`
	// Master is where the master process listens (haproxy -S), in the same form;
	// "" where old workers are left to hard-stop-after.
	Master  string        `yaml:"master"`
	Backend string        `yaml:"backend"` // by default CLUSTER_writer
	Server  string        `yaml:"server"`
	Timeout time.Duration `yaml:"timeout"`
	// Listen is where the generated configuration takes applications'
	// connections; it may be empty where the configuration is not generated.
	Listen  string `yaml:"listen"`
	MaxConn int    `yaml:"maxconn"`
	// Hold is for how long new connections wait while there is no master, and Lua
	// where the generated configuration finds the script that makes them.
	Hold time.Duration `yaml:"hold"`
	Lua  string        `yaml:"lua"`
	// Datacenter is the proxy's own: readers there are preferred.
	Datacenter string         `yaml:"datacenter"`
	Readers    HAProxyReaders `yaml:"readers"`
	// File is the configuration that HAProxy starts with, and StateFile its
	// server-state file: a sidecar keeps them in step. Empty where it does not.
	File      string `yaml:"file"`
	StateFile string `yaml:"state_file"`
}

func (h *HAProxy) defaults() {
	h.Server = "master"
	h.Timeout = time.Second
	h.MaxConn = haproxy.DefaultMaxConn
	h.Hold = haproxy.DefaultHold
}

// HAProxyReaders is the entrance of a cluster's readers on one HAProxy.
type HAProxyReaders struct {
	// Backend is CLUSTER_readers by default; empty where there is no entrance.
	Backend string `yaml:"backend"`
	Slots   int    `yaml:"slots"`
	// Listen and MaxConn are as for the writer.
	Listen  string `yaml:"listen"`
	MaxConn int    `yaml:"maxconn"`
}

func (r *HAProxyReaders) defaults() {
	r.Slots, r.MaxConn = haproxy.DefaultReaderSlots, haproxy.DefaultReaderMaxConn
}

// ReaderSlots returns the entry's readers as the router knows them; zero for none.
func (h HAProxy) ReaderSlots() haproxy.Readers {
	if h.Readers.Backend == "" {
		return haproxy.Readers{}
	}
	return haproxy.Readers{Backend: h.Readers.Backend, Slots: h.Readers.Slots}
}

// ProxySQL is one cluster's writer in one ProxySQL: a hostgroup that belongs to
// it alone.
type ProxySQL struct {
	Name    string `yaml:"name"`
	Cluster string `yaml:"cluster"`
	// Sidecar is http://HOST:PORT of the sidecar beside it, through which the
	// controllers reach it; the sidecar's own file says the rest.
	Sidecar string `yaml:"sidecar"`
	// Admin is HOST:PORT of the admin interface.
	Admin           string `yaml:"admin"`
	User            string `yaml:"user"`
	Password        Secret `yaml:"password"`
	PasswordFile    string `yaml:"password_file"`
	WriterHostgroup int    `yaml:"writer_hostgroup"`
	// ReaderHostgroup is proxysql.NoReader where none is given.
	ReaderHostgroup int `yaml:"reader_hostgroup"`
	// Datacenter is the proxy's own: readers there are preferred.
	Datacenter     string `yaml:"datacenter"`
	Weight         int    `yaml:"weight"`
	MaxConnections int    `yaml:"max_connections"`
	UseSSL         bool   `yaml:"use_ssl"`
	// DrainTimeout is how long what is under way on the old master may take to end
	// in a switchover.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	Timeout      time.Duration `yaml:"timeout"`
}

func (p *ProxySQL) defaults() {
	p.WriterHostgroup, p.ReaderHostgroup = proxysql.NoReader, proxysql.NoReader
	p.Weight, p.MaxConnections = proxysql.DefaultWeight, proxysql.DefaultMaxConnections
	p.Timeout, p.DrainTimeout = time.Second, time.Second
}

// Slot returns the entry as the router knows it.
func (p ProxySQL) Slot() proxysql.Slot {
	return proxysql.Slot{Hostgroup: p.WriterHostgroup, Reader: p.ReaderHostgroup, Weight: p.Weight,
		MaxConnections: p.MaxConnections, UseSSL: p.UseSSL}
}

// LogLevel is the least level that is logged.
type LogLevel string

func (LogLevel) choices() []string { return []string{"debug", "info", "warn", "error"} }

// Slog returns the level in log/slog's terms.
func (l LogLevel) Slog() slog.Level {
	switch l {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// LogFormat is the form of the log's lines.
type LogFormat string

// The forms of the log.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) choices() []string { return []string{"text", "json"} }

// Log is what is logged, and how.
type Log struct {
	Level  LogLevel  `yaml:"level"`
	Format LogFormat `yaml:"format"`
}

func (l *Log) defaults() { *l = Log{Level: "info", Format: LogText} }

// Self returns the entry of this controller.
func (f *File) Self() Controller {
	for _, c := range f.Controllers {
		if c.ID == f.ID {
			return c
		}
	}
	return Controller{}
}
