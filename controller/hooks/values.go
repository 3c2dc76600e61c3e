package hooks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"switchyard/controller/topology"
)

// placeholders are the names that a command may have in braces, each with the
// end of the name of its variable.
func placeholders() map[string]string {
	return map[string]string{
		"failureType":                    "FAILURE_TYPE",
		"instanceType":                   "INSTANCE_TYPE",
		"isMaster":                       "IS_MASTER",
		"isCoMaster":                     "IS_CO_MASTER",
		"failureDescription":             "FAILURE_DESCRIPTION",
		"command":                        "COMMAND",
		"failedHost":                     "FAILED_HOST",
		"failedPort":                     "FAILED_PORT",
		"failureCluster":                 "FAILURE_CLUSTER",
		"failureClusterAlias":            "FAILURE_CLUSTER_ALIAS",
		"failureClusterDomain":           "FAILURE_CLUSTER_DOMAIN",
		"countSlaves":                    "COUNT_REPLICAS",
		"countReplicas":                  "COUNT_REPLICAS",
		"isDowntimed":                    "IS_DOWNTIMED",
		"autoMasterRecovery":             "AUTO_MASTER_RECOVERY",
		"autoIntermediateMasterRecovery": "AUTO_INTERMEDIATE_MASTER_RECOVERY",
		"orchestratorHost":               "ORCHESTRATOR_HOST",
		"recoveryUID":                    "RECOVERY_UID",
		"isSuccessful":                   "IS_SUCCESSFUL",
		"lostSlaves":                     "LOST_REPLICAS",
		"lostReplicas":                   "LOST_REPLICAS",
		"countLostReplicas":              "COUNT_LOST_REPLICAS",
		"slaveHosts":                     "REPLICA_HOSTS",
		"replicaHosts":                   "REPLICA_HOSTS",
		"successorHost":                  "SUCCESSOR_HOST",
		"successorPort":                  "SUCCESSOR_PORT",
		"successorBinlogCoordinates":     "SUCCESSOR_BINLOG_COORDINATES",
		"successorAlias":                 "SUCCESSOR_ALIAS",
	}
}

// variables are what the facts come to, by the end of the variable's name. They
// are all there, be they empty, so that a script with "set -u" can ask for them.
func variables(f Facts) map[string]string {
	v := map[string]string{
		"FAILURE_TYPE":                      f.FailureType,
		"INSTANCE_TYPE":                     f.InstanceType,
		"IS_MASTER":                         strconv.FormatBool(f.InstanceType == "master"),
		"IS_CO_MASTER":                      strconv.FormatBool(f.InstanceType == "co-master"),
		"FAILURE_DESCRIPTION":               f.FailureDescription,
		"COMMAND":                           f.Command,
		"FAILED_HOST":                       f.Failed.Host,
		"FAILED_PORT":                       port(f.Failed),
		"FAILURE_CLUSTER":                   f.Cluster,
		"FAILURE_CLUSTER_ALIAS":             f.ClusterAlias,
		"FAILURE_CLUSTER_DOMAIN":            "",
		"COUNT_REPLICAS":                    strconv.Itoa(len(f.Replicas)),
		"IS_DOWNTIMED":                      strconv.FormatBool(f.Downtimed),
		"AUTO_MASTER_RECOVERY":              strconv.FormatBool(f.AutoMaster),
		"AUTO_INTERMEDIATE_MASTER_RECOVERY": strconv.FormatBool(f.AutoIntermediate),
		"ORCHESTRATOR_HOST":                 f.Controller,
		"RECOVERY_UID":                      f.Recovery,
		"IS_SUCCESSFUL":                     strconv.FormatBool(f.Successful),
		"LOST_REPLICAS":                     list(f.Lost),
		"COUNT_LOST_REPLICAS":               strconv.Itoa(len(f.Lost)),
		"REPLICA_HOSTS":                     list(f.Replicas),
		"SUCCESSOR_HOST":                    f.Successor.Host,
		"SUCCESSOR_PORT":                    port(f.Successor),
		"SUCCESSOR_BINLOG_COORDINATES":      "",
		"SUCCESSOR_ALIAS":                   "",
	}
	if !f.Successor.IsZero() {
		v["SUCCESSOR_BINLOG_COORDINATES"], v["SUCCESSOR_ALIAS"] = f.SuccessorPosition, f.SuccessorAlias
	}
	for name, value := range v {
		// The kernel ends a variable at a NUL byte.
		v[name] = strings.ReplaceAll(value, "\x00", " ")
	}
	return v
}

func port(k topology.Key) string {
	if k.IsZero() {
		return ""
	}
	return strconv.Itoa(int(k.Port))
}

func list(keys []topology.Key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.String()
	}
	return strings.Join(names, ",")
}

// safe reports whether c means nothing to any shell, however often a value is
// read as a program's text on its way (ssh HOST "...", bash -c "...").
func safe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-:[]@/,", c) >= 0
}

// unsafeName says why no command may be given the names in f. They come from
// servers and from whoever may register one.
func unsafeName(f Facts) error {
	names := []struct{ what, value string }{
		{"the failed host", f.Failed.Host}, {"the cluster", f.Cluster}, {"the cluster's alias", f.ClusterAlias},
		{"the successor's host", f.Successor.Host}, {"the successor's alias", f.SuccessorAlias},
	}
	for _, k := range slices.Concat(f.Replicas, f.Lost) {
		names = append(names, struct{ what, value string }{"a replica's host", k.Host})
	}
	for _, name := range names {
		if strings.HasPrefix(name.value, "-") {
			return fmt.Errorf("%s is %.100q: it begins with a dash, which commands take for an option; the hook was not run",
				name.what, name.value)
		}
		for i := range len(name.value) {
			if !safe(name.value[i]) {
				return fmt.Errorf("%s is %.100q: only letters, digits and . _ - : [ ] @ / , may be in a name that a hook is given; "+
					"the hook was not run", name.what, name.value)
			}
		}
	}
	return nil
}

// sanitized is text of which nothing means anything to a shell.
func sanitized(text string) string {
	out := []byte(text)
	for i, c := range out {
		if !safe(c) {
			out[i] = ' '
		}
	}
	return strings.TrimLeft(string(out), "- ")
}

// free are the variables with text that is no name. A placeholder stands for the
// sanitized text; the variable that scripts ask for has all of it.
func free() []string {
	return []string{
		"FAILURE_TYPE", "INSTANCE_TYPE", "FAILURE_DESCRIPTION", "COMMAND", "ORCHESTRATOR_HOST", "RECOVERY_UID",
		"SUCCESSOR_BINLOG_COORDINATES",
	}
}

// variableOf is the variable that stands in the place of a placeholder.
func variableOf(suffix string) string {
	if slices.Contains(free(), suffix) {
		return "SWITCHYARD_SAFE_" + suffix
	}
	return "SWITCHYARD_" + suffix
}

// environment is all that a command gets to know.
func environment(m Moment, f Facts, inherited map[string]string) []string {
	all := map[string]string{"SWITCHYARD_MOMENT": string(m)}
	for suffix, value := range variables(f) {
		all["ORC_"+suffix], all["SWITCHYARD_"+suffix] = value, value
		all[variableOf(suffix)] = value
		if slices.Contains(free(), suffix) {
			all[variableOf(suffix)] = sanitized(value)
		}
	}
	for name, value := range inherited {
		all[name] = value
	}
	out := make([]string, 0, len(all))
	for name, value := range all {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}
