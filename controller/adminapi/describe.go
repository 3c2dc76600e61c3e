package adminapi

import (
	"maps"

	"switchyard/controller/adminapi/wire"
)

// description is what the OpenAPI document says of a route that its entry in
// the table does not.
type description struct {
	// id is the operation's name for programs, and tag the chapter.
	id, tag, summary string
	// body is a value of the request's type; nil for none.
	body any
	// example is a good body. All of needs must be in it, and one of either.
	example map[string]any
	needs   []string
	either  []string
	// lenient requests may have members that nobody knows: those of newer controllers.
	lenient bool
	// answer is a value of the type of a success; nil for any JSON object.
	answer any
	// text is the media type of a success that is not JSON.
	text string
	// others are answers with another status, by it, that are no errors.
	others map[string]any
	// forwarded routes are the leader's.
	forwarded bool
	// codes are the errors beyond those that every such route has.
	codes []wire.Code
}

// descriptions are all of them, by method and path as in the table. The calls of
// sidecars are described by sidecar/protocol/PROTOCOL.md.
func descriptions() map[string]description {
	all := map[string]description{}
	for _, chapter := range []map[string]description{health(), pictures(), history(), changes(), servers(), internal()} {
		maps.Copy(all, chapter)
	}
	return all
}

func health() map[string]description {
	const tag = "health"
	return map[string]description{
		"GET " + wire.PathLeaderCheck: {
			id: "leaderCheck", tag: tag, summary: "200 on the leader, 404 elsewhere, for load balancers.",
			answer: wire.LeaderCheck{}, others: map[string]any{"404": wire.LeaderCheck{}},
		},
		"GET " + wire.PathLeaderCheck + "/": {
			id: "leaderCheckOr", tag: tag, summary: "200 on the leader, and the given status elsewhere.",
			answer: wire.LeaderCheck{}, others: map[string]any{"4XX": wire.LeaderCheck{}, "5XX": wire.LeaderCheck{}},
		},
		"GET " + wire.PathRoutedCheck: {
			id: "routedLeaderCheck", tag: tag, forwarded: true, answer: wire.LeaderCheck{},
			summary: "200 if a leader can be reached through this controller, within 0.8 s; else 503 with the reason.",
		},
		"GET " + wire.PathHealth: {
			id: "health", tag: tag, summary: "200 if this controller has its state and knows a leader, else 500, in the words of orchestrator's API.",
			answer: wire.NodeHealth{}, others: map[string]any{"500": wire.NodeHealth{}},
		},
		"GET " + wire.PathLeads: {
			id: "healthLeader", tag: tag, summary: "200 on the leader, 503 elsewhere.",
			answer: wire.Health{}, others: map[string]any{"503": wire.Health{}},
		},
		"GET " + wire.PathLive: {id: "healthLive", tag: tag, summary: "200 while the process answers.", answer: wire.Health{}},
		"GET " + wire.PathReady: {
			id: "healthReady", tag: tag, summary: "200 if this controller has its state and knows a leader, else 503 with the reason.",
			answer: wire.Health{}, others: map[string]any{"503": wire.Health{}},
		},
		"GET " + wire.PathMetrics: {
			id: "metrics", tag: tag, summary: "Figures for Prometheus.", text: "text/plain", codes: []wire.Code{wire.NotFound},
		},
		"GET " + wire.PathOpenAPI: {id: "openAPI", tag: tag, summary: "This document."},
	}
}

func pictures() map[string]description {
	const tag = "pictures"
	missing := []wire.Code{wire.NotFound}
	return map[string]description{
		"GET " + wire.PathStatus: {
			id: "status", tag: tag, summary: "Controllers, leader, clusters, proxies, Consul, and what is wrong.", answer: wire.Status{},
		},
		"GET " + wire.PathControllers: {
			id: "controllers", tag: tag, summary: "Each controller's part in raft; any of them tells, with a leader or without.", answer: wire.Controllers{},
		},
		"GET " + wire.PathDatacenters: {
			id: "datacenters", tag: tag, summary: "The datacenters, what is in each, and which are marked down.", answer: wire.DataCenters{},
		},
		"GET " + wire.PathKV: {
			id: "kv", tag: tag, summary: "What each datacenter's Consul holds, beside what the ledger says.", answer: wire.KV{}, codes: missing,
		},
		"GET " + wire.PathClusters: {id: "clusters", tag: tag, summary: "The clusters and their masters.", answer: []wire.Cluster{}},
		"GET " + wire.PathTopology: {
			id: "topology", tag: tag, summary: "One cluster, a node for each server.", answer: wire.Topology{}, codes: missing,
		},
		"GET " + wire.PathProxies: {
			id: "proxies", tag: tag, summary: "What each proxy does. Only the leader looks at them; another controller tells what the ledger remembers.",
			answer: wire.Proxies{}, codes: missing,
		},
		"GET " + wire.PathExplain: {
			id: "explain", tag: tag, summary: "What the leader would do about a cluster now, and what holds it back.",
			answer: wire.Explanation{}, forwarded: true, codes: missing,
		},
	}
}

func history() map[string]description {
	const tag = "history"
	return map[string]description{
		"GET " + wire.PathRecoveries: {
			id: "recoveries", tag: tag, summary: "Recoveries, the newest first, without their steps.", answer: []wire.Recovery{},
		},
		"GET " + wire.PathRecoveries + "/": {
			id: "recovery", tag: tag, summary: "One recovery with each step.", answer: wire.Recovery{}, codes: []wire.Code{wire.NotFound},
		},
		"GET " + wire.PathAudit: {
			id: "audit", tag: tag, summary: "Who did what, when and why, the newest first.", answer: wire.Audit{},
		},
		"GET " + wire.PathBackup: {
			id: "backup", tag: tag, summary: "The ledger, as switchyard restore takes it; the leader's, or with local what this controller knows.",
			text: "application/octet-stream", forwarded: true, codes: []wire.Code{wire.NotFound, wire.Refused},
		},
	}
}

// changes are what operators ask about a cluster or all of them.
func changes() map[string]description {
	const tag = "operations"
	done := func(id, summary string, body any, example map[string]any, needs ...string) description {
		example["by"] = "kim"
		return description{
			id: id, tag: tag, summary: summary, body: body, example: example, needs: needs, answer: wire.Done{},
			forwarded: true, codes: []wire.Code{wire.NotFound, wire.Conflict, wire.Refused, wire.Failed},
		}
	}
	recovery := func(id, summary string, body any, example map[string]any, needs ...string) description {
		d := done(id, summary, body, example, needs...)
		d.answer = wire.Recovery{}
		return d
	}
	ack := done("ack", "Acknowledge a recovery, or all of a cluster that have ended.", wire.AckRequest{},
		map[string]any{"recovery": "shop-7", "comment": "seen"}, "comment")
	ack.either = []string{"recovery", "cluster"}
	return map[string]description{
		"POST " + wire.PathSwitchover: recovery("switchover", "Make another server the master, as planned; it answers when that has ended.",
			wire.SwitchoverRequest{}, map[string]any{"cluster": "shop", "to": "db2:3306", "reason": "new kernel"}, "cluster"),
		"POST " + wire.PathFailover: recovery("failover", "Promote another server; with force in spite of every doubt, for which a reason must be given.",
			wire.FailoverRequest{}, map[string]any{"cluster": "shop", "to": "db2:3306", "force": false, "reason": "the rack burns"}, "cluster"),
		"POST " + wire.PathRecover: recovery("recover", "Do now what would be done unasked about a server, with every check.",
			wire.ServerRequest{}, map[string]any{"server": "db1:3306", "reason": "seen"}, "server"),
		"POST " + wire.PathPause: done("pause", "Let no automatic recovery begin, of one cluster or of all.", wire.PauseRequest{},
			map[string]any{"cluster": "shop", "reason": "maintenance"}, "reason"),
		"POST " + wire.PathResume: done("resume", "Take a pause back.", wire.ResumeRequest{},
			map[string]any{"cluster": "shop", "reason": "done"}),
		"POST " + wire.PathAck: ack,
		"POST " + wire.PathAdopt: done("adopt", "Say who is the master of a cluster that a restored ledger holds.", wire.AdoptRequest{},
			map[string]any{"cluster": "shop", "master": "db1:3306", "reason": "it takes the writes"}, "cluster", "master", "reason"),
		"POST " + wire.PathDatacenterDown: done("datacenterDown", "Let no controller in a datacenter lead while another one can, and promote no server there unasked.",
			wire.DatacenterDownRequest{}, map[string]any{"dc": "dc2", "duration": "2h", "reason": "power works"}, "dc", "duration", "reason"),
		"POST " + wire.PathDatacenterUp: done("datacenterUp", "Take such a mark back.", wire.DatacenterUpRequest{},
			map[string]any{"dc": "dc2", "reason": "done"}, "dc"),
		"POST " + wire.PathChangeControllers: done("changeControllers", "Add a controller, remove one, or give one other addresses.", wire.ControllersRequest{},
			map[string]any{"change": "remove", "id": "c4", "reason": "its rack goes"}, "change", "id"),
		"POST " + wire.PathTransferLeader: done("transferLeader", "Have another controller lead.", wire.TransferRequest{},
			map[string]any{"to": "c2", "force": false, "reason": "the rack moves"}),
	}
}

// servers are what operators ask about one server.
func servers() map[string]description {
	const tag = "operations"
	done := func(id, summary string, body any, example map[string]any, needs ...string) description {
		example["by"], example["reason"], example["server"] = "kim", "new disk", "db1:3306"
		return description{
			id: id, tag: tag, summary: summary, body: body, example: example, needs: append(needs, "server"), answer: wire.Done{},
			forwarded: true, codes: []wire.Code{wire.NotFound, wire.Conflict, wire.Refused, wire.Failed},
		}
	}
	rule := done("promotionRule", "Set a server's promotion rule by hand, or clear it.", wire.RuleRequest{},
		map[string]any{"rule": "must_not", "for": "24h"})
	rule.either = []string{"rule", "clear"}
	return map[string]description{
		"POST " + wire.PathBeginDowntime: done("beginDowntime", "Do nothing about a server unasked, for so long.", wire.DowntimeRequest{},
			map[string]any{"duration": "2h", "owner": "dba"}, "duration", "reason"),
		"POST " + wire.PathEndDowntime:   done("endDowntime", "End a server's downtime.", wire.ServerRequest{}, map[string]any{}),
		"POST " + wire.PathPromotionRule: rule,
		"POST " + wire.PathMove: done("move", "Have a replica replicate from another server.", wire.MoveRequest{},
			map[string]any{"below": "db2:3306"}, "below"),
		"POST " + wire.PathDetach:   done("detach", "Stop a replica, and forget whom it follows.", wire.DetachRequest{}, map[string]any{}, "reason"),
		"POST " + wire.PathReattach: done("reattach", "Have a detached replica follow again.", wire.ServerRequest{}, map[string]any{}),
		"POST " + wire.PathSetReadOnly: done("setReadOnly", "Make a server read-only, or writable.", wire.ReadOnlyRequest{},
			map[string]any{"read_only": true}, "read_only", "reason"),
	}
}

func internal() map[string]description {
	const tag = "internal"
	return map[string]description{
		"POST " + wire.PathWitness: {
			id: "witness", tag: tag, summary: "What this controller sees of servers now, for another one.",
			body: wire.WitnessRequest{}, needs: []string{"asker", "cluster", "servers", "wait_ms"}, answer: wire.WitnessReply{},
			example: map[string]any{"asker": "c2", "cluster": "shop", "servers": []string{"db1:3306"}, "wait_ms": 500},
		},
		"POST " + wire.PathWord: {
			id: "word", tag: tag, summary: "This controller's word to grant a server nothing more, for another one.",
			lenient: true, body: wire.WordRequest{}, needs: []string{"asker", "cluster", "server"}, answer: wire.WordReply{},
			example: map[string]any{"asker": "c2", "cluster": "shop", "server": "db1:3306", "epoch": map[string]any{"generation": 1795167490, "number": 3}},
		},
		"GET " + wire.PathKeeping: {
			id: "keeping", tag: tag, summary: "What this controller knows of the directories that it writes, for another one.", answer: wire.Keeping{},
		},
		"POST " + wire.PathNotice: {
			id: "notice", tag: tag, summary: "Tell the leader what was found in a directory.", lenient: true,
			body: wire.Notice{}, needs: []string{"controller", "dc", "cluster", "was", "times"}, answer: wire.Health{},
			example: map[string]any{
				"controller": "c2", "dc": "dc2", "cluster": "shop", "master": "db1:3306", "was": "db2:3306", "held": false, "times": 1,
				"epoch": map[string]any{"generation": 1795167490, "number": 3},
			},
			codes: []wire.Code{wire.NotLeader},
		},
		"GET " + wire.PathVoice: {
			id: "voice", tag: tag, summary: "This controller's part in raft, for another one.", answer: wire.Voice{},
		},
		"GET " + wire.PathWhoAmI: {
			id: "whoAmI", tag: tag, summary: "Which process this is, for another controller.", answer: wire.WhoAmI{},
		},
	}
}

// parameter is a query parameter's type and what it is for.
type parameter struct {
	summary string
	schema  map[string]any
}

func parameters() map[string]parameter {
	text := map[string]any{"type": "string"}
	kinds := make([]any, 0, len(wire.AuditKinds()))
	for _, k := range wire.AuditKinds() {
		kinds = append(kinds, k)
	}
	return map[string]parameter{
		"cluster": {"Only what is about this cluster.", nameSchema()},
		"server":  {"Only what is about this server, HOST:PORT.", text},
		"kind":    {"Only entries of this kind.", map[string]any{"type": "string", "enum": kinds}},
		"since":   {"Only what is not older: 90s, 2h30m, 3d, 2w, or a time as in RFC 3339.", text},
		"before":  {"Only entries older than the one with this id: the next of the answer before.", map[string]any{"type": "integer", "minimum": 1}},
		"local":   {"What the controller that is asked knows, and not the leader.", map[string]any{"type": "boolean", "default": false}},
		"limit":   {"At most so many.", map[string]any{"type": "integer", "minimum": 1, "maximum": wire.MaxAudit, "default": 100}},
	}
}

func nameSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^[A-Za-z0-9._-]+$", "maxLength": wire.MaxName}
}

// failures are the codes of the errors that r can answer.
func failures(r route, d description) []wire.Code {
	codes := []wire.Code{wire.BadRequest, wire.RequestTimeout, wire.TooLarge, wire.Internal, wire.Unavailable, wire.Timeout}
	codes = append(codes, wire.Unauthorized)
	if !r.internal {
		codes = append(codes, wire.Forbidden, wire.TooManyLogins)
	}
	if r.limited {
		codes = append(codes, wire.Busy)
	}
	if d.forwarded {
		codes = append(codes, wire.NotLeader, wire.NoLeader, wire.LeaderUnreachable)
	}
	return append(codes, d.codes...)
}
