// Package wire holds the types that cross the controllers' HTTP door, shared
// by the server, the operator's commands and the controllers' calls to each
// other. It is pure data: no context, clock or network.
package wire

import "fmt"

// The header names of the door.
const (
	// HeaderForwarded carries the id of the controller that forwarded a call. A
	// call that carries it is never forwarded again.
	HeaderForwarded = "X-Switchyard-Forwarded"
	// HeaderNonce carries the caller's random number of an internal call.
	HeaderNonce = "X-Switchyard-Nonce"
	// HeaderSignature carries the proof that an internal call, or its reply,
	// was made by a holder of the shared secret.
	HeaderSignature = "X-Switchyard-Signature"
	// HeaderUser, HeaderRole and HeaderSent say, on a call that a controller
	// forwards, who the caller is; they are signed with the rest of it.
	HeaderUser = "X-Switchyard-User"
	HeaderRole = "X-Switchyard-Role"
	HeaderSent = "X-Switchyard-Sent"
)

// The paths of the door that more than one package names.
const (
	PathLeaderCheck = "/api/leader-check"
	PathStatus      = "/api/v1/status"
	PathClusters    = "/api/v1/clusters"
	PathTopology    = "/api/v1/topology/"
	PathRecoveries  = "/api/v1/recoveries"
	PathExplain     = "/api/v1/explain/"
	PathProxies     = "/api/v1/proxies"
	PathSwitchover  = "/api/v1/switchover"
	PathAudit       = "/api/v1/audit"
	PathWitness     = "/internal/v1/witness"
	PathWhoAmI      = "/internal/v1/whoami"
	PathRoutedCheck = "/api/routed-leader-check"
	PathHealth      = "/api/health"
	PathLeads       = "/health/leader"
	PathLive        = "/health/live"
	PathReady       = "/health/ready"
	PathMetrics     = "/metrics"
	PathOpenAPI     = "/api/v1/openapi.json"
)

// The paths of what operators ask for, beside a switchover.
const (
	PathBeginDowntime = "/api/v1/begin-downtime"
	PathEndDowntime   = "/api/v1/end-downtime"
	PathPromotionRule = "/api/v1/promotion-rule"
	PathPause         = "/api/v1/pause"
	PathResume        = "/api/v1/resume"
	PathAck           = "/api/v1/ack"
	PathRecover       = "/api/v1/recover"
	PathFailover      = "/api/v1/failover"
	PathMove          = "/api/v1/move"
	PathDetach        = "/api/v1/detach"
	PathReattach      = "/api/v1/reattach"
	PathSetReadOnly   = "/api/v1/set-read-only"
)

// MaxName is the longest name of a cluster that the door takes, in bytes.
const MaxName = 100

// CheckName says what is wrong with the name of a cluster or a recovery: it
// becomes a part of a path, of a KV key and of a proxy's backend.
func CheckName(kind, name string) error {
	if name == "" {
		return fmt.Errorf("%s is empty: want letters, digits, '.', '_' and '-'", kind)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%s %.20q... has %d bytes: want at most %d", kind, name, len(name), MaxName)
	}
	if name == "." || name == ".." {
		return fmt.Errorf("%s %q: want a name with a letter or a digit", kind, name)
	}
	for _, r := range name {
		if !nameRune(r) {
			return fmt.Errorf("%s %q has %q in it: want letters, digits, '.', '_' and '-'", kind, name, r)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// WhoAmI is the answer to GET /internal/v1/whoami: two processes that give the
// same ID with different Boots are two controllers with one id.
type WhoAmI struct {
	ID   string `json:"id"`
	Boot string `json:"boot"`
	Name string `json:"name"`
}
