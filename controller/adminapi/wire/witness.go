package wire

import (
	"switchyard/controller/topology"
)

// MaxWitnessServers is how many servers one question can ask about.
const MaxWitnessServers = 1000

// MaxWitnessWaitMS is the longest that a question can give a witness.
const MaxWitnessWaitMS = 10_000

// WitnessRequest asks another controller what it sees of some servers, by
// attempts that it begins after it has got the question.
type WitnessRequest struct {
	// Asker is the controller that asks.
	Asker   string         `json:"asker"`
	Cluster string         `json:"cluster"`
	Servers []topology.Key `json:"servers"`
	// WaitMS is how long the witness may take.
	WaitMS int `json:"wait_ms"`
}

// WitnessReply is one witness's account.
type WitnessReply struct {
	// Witness and Boot name the process that testifies; two witnesses with one
	// id count once.
	Witness string        `json:"witness"`
	Boot    string        `json:"boot,omitempty"`
	View    topology.View `json:"view"`
}
