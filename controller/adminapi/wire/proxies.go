package wire

import (
	"time"

	"switchyard/router/routes"
)

// Proxies is one controller's account of the fleet.
type Proxies struct {
	// Controller is who answers, and Leader who leads; empty while nobody does.
	Controller string `json:"controller"`
	Leader     string `json:"leader"`
	// Looks is whether the one that answers leads, and so looks at the proxies. Any
	// other one knows what the ledger remembers of them.
	Looks   bool    `json:"looks"`
	Proxies []Proxy `json:"proxies"`
}

// ProxyState is what a proxy was last seen to do.
type ProxyState string

// The states of a proxy.
const (
	// ProxyFollows: it was read back to do what its table says.
	ProxyFollows ProxyState = "follows"
	// ProxyWithdrawn: it does so, and its table says to serve nobody.
	ProxyWithdrawn ProxyState = "withdrawn"
	// ProxyStrays: it answers, and does something else.
	ProxyStrays ProxyState = "strays"
	// ProxyDown: it is proven not to run.
	ProxyDown ProxyState = "down"
	// ProxyUnknown: it does not answer, and may do what an older table said.
	ProxyUnknown ProxyState = "unknown"
	// ProxyRemembered: the controller that answers does not look at proxies.
	ProxyRemembered ProxyState = "remembered"
)

// The ways to a proxy.
const (
	WayDirect  = "direct"
	WaySidecar = "sidecar"
)

// Proxy is what is known of one proxy.
type Proxy struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Cluster string `json:"cluster"`
	// Way is direct or sidecar, and Sidecar the URL of the sidecar.
	Way     string     `json:"way"`
	Sidecar string     `json:"sidecar,omitempty"`
	State   ProxyState `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since,omitzero"`
	// Serves is where it was read to lead new connections; empty for nowhere.
	Serves string `json:"serves,omitempty"`
	// Sessions counts the connections that its writer carries.
	Sessions int `json:"sessions"`
	// Epoch and Revision are of the newest table that it confirmed, at ConfirmedAt;
	// Wanted ones of the table that it is to follow. Confirmed is whether it does.
	Epoch          routes.Epoch `json:"epoch"`
	Revision       uint64       `json:"revision"`
	ConfirmedAt    time.Time    `json:"confirmed_at,omitzero"`
	WantedEpoch    routes.Epoch `json:"wanted_epoch"`
	WantedRevision uint64       `json:"wanted_revision"`
	Confirmed      bool         `json:"confirmed"`
	// Retries counts the attempts since it last followed, which are made for ever,
	// and NextLook is when the next one is.
	Retries  int       `json:"retries"`
	NextLook time.Time `json:"next_look,omitzero"`
	// Repairs counts how often it was put back since the controller was started.
	Repairs int `json:"repairs"`
	// Problem is why it does not follow, and Warning what works against us in it.
	Problem string               `json:"problem,omitempty"`
	Warning string               `json:"warning,omitempty"`
	Readers *routes.ReadersProof `json:"readers,omitempty"`
	// Report is what its sidecar last told this controller when it asked for news.
	Report *ProxyReport `json:"report,omitempty"`
}

// ProxyReport is what a sidecar said of its proxy.
type ProxyReport struct {
	Sidecar    string       `json:"sidecar"`
	DataCenter string       `json:"dc,omitempty"`
	At         time.Time    `json:"at"`
	Epoch      routes.Epoch `json:"epoch"`
	Revision   uint64       `json:"revision"`
	Digest     string       `json:"digest,omitempty"`
	// Sessions counts the connections left on a writer that is withdrawn.
	Sessions int    `json:"sessions"`
	Problem  string `json:"problem,omitempty"`
}
