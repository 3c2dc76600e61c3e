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
	Bind        Bind         `yaml:"bind"`
	Raft        Raft         `yaml:"raft"`
	MySQL       MySQL        `yaml:"mysql"`
	Discovery   Discovery    `yaml:"discovery"`
	Clusters    []Cluster    `yaml:"clusters"`
	Recovery    Recovery     `yaml:"recovery"`
	Consul      []Consul     `yaml:"consul"`
	HAProxy     []HAProxy    `yaml:"haproxy"`
	Log         Log          `yaml:"log"`
}

// Controller is one member of the set, as the others reach it.
type Controller struct {
	ID string `yaml:"id"`
	// Raft is HOST:PORT.
	Raft string `yaml:"raft"`
	// HTTP is http://HOST:PORT.
	HTTP       string `yaml:"http"`
	Datacenter string `yaml:"datacenter"`
}

// Bind is the addresses that this controller listens on, as HOST:PORT.
type Bind struct {
	Raft string `yaml:"raft"`
	HTTP string `yaml:"http"`
}

// Raft is the timing of the consensus.
type Raft struct {
	HeartbeatTimeout   time.Duration `yaml:"heartbeat_timeout"`
	ElectionTimeout    time.Duration `yaml:"election_timeout"`
	LeaderLeaseTimeout time.Duration `yaml:"leader_lease_timeout"`
	CommitTimeout      time.Duration `yaml:"commit_timeout"`
}

func (r *Raft) defaults() {
	*r = Raft{
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
// that is found.
type Cluster struct {
	Name           string                       `yaml:"name"`
	Seeds          []topology.Key               `yaml:"seeds"`
	PromotionRules map[topology.Key]policy.Rule `yaml:"promotion_rules"`
	SemiSync       policy.SemiSync              `yaml:"semi_sync"`
	MaxLag         time.Duration                `yaml:"max_lag"`
}

func (c *Cluster) defaults() { c.SemiSync = policy.SemiSyncAuto }

// Recovery is which clusters are recovered without asking, and how soon.
type Recovery struct {
	Clusters     []Filter      `yaml:"clusters"`
	AntiFlap     time.Duration `yaml:"anti_flap"`
	RestartGrace time.Duration `yaml:"restart_grace"`
	MinStall     time.Duration `yaml:"min_stall"`
	// CutOff is what to do about a master that not even its host answers for.
	CutOff policy.CutOff `yaml:"cut_off"`
}

func (r *Recovery) defaults() {
	r.AntiFlap = 10 * time.Minute
	r.RestartGrace = 15 * time.Second
	r.MinStall = 1500 * time.Millisecond
	r.CutOff = policy.CutOffHold
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
	// Runtime is tcp://HOST:PORT or unix:///PATH.
	Runtime string        `yaml:"runtime"`
	Backend string        `yaml:"backend"` // by default CLUSTER_writer
	Server  string        `yaml:"server"`
	Timeout time.Duration `yaml:"timeout"`
	// Listen is where the generated configuration takes applications'
	// connections; it may be empty where the configuration is not generated.
	Listen  string `yaml:"listen"`
	MaxConn int    `yaml:"maxconn"`
}

func (h *HAProxy) defaults() {
	h.Server = "master"
	h.Timeout = time.Second
	h.MaxConn = haproxy.DefaultMaxConn
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

// Policy returns the operator's rules for a cluster; one that the file does
// not name has the default rules.
func (f *File) Policy(cluster string) policy.Cluster {
	p := policy.Cluster{
		Controllers:  len(f.Controllers),
		AntiFlap:     f.Recovery.AntiFlap,
		RestartGrace: f.Recovery.RestartGrace,
		MinStall:     f.Recovery.MinStall,
		CutOff:       f.Recovery.CutOff,
		SemiSync:     policy.SemiSyncAuto,
	}
	for _, h := range f.HAProxy {
		if h.Cluster == cluster {
			p.Proxies++
		}
	}
	for _, filter := range f.Recovery.Clusters {
		p.Recover = p.Recover || filter.Match(cluster)
	}
	for _, c := range f.Clusters {
		if c.Name == cluster {
			p.Rules, p.MaxLag, p.SemiSync = c.PromotionRules, c.MaxLag, c.SemiSync
		}
	}
	return p
}
