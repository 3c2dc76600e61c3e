package consul

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/consul/api"

	"switchyard/router/routes"
)

// The keys of one cluster, in the order in which they are read and written. The
// epoch is the one on which writers compare and set; all others go with it.
const (
	keyEpoch = iota
	keyMaster
	keyHostname
	keyPort
	keyIPv4
	keyIPv6
	keyRevision
	keyCount
)

// maxCluster bounds a cluster's name, well below what Consul takes for a key.
const maxCluster = 255

// keys returns the names of a cluster's keys, and refuses a cluster whose keys
// would be those of another one or lie outside of the prefix.
func (c *Consul) keys(cluster string) ([keyCount]string, error) {
	unfit := strings.ContainsFunc(cluster, func(r rune) bool {
		return r == '/' || unicode.IsControl(r) || r == unicode.ReplacementChar
	})
	if len(cluster) > maxCluster || unfit || strings.Trim(cluster, ".") == "" {
		return [keyCount]string{}, fmt.Errorf("cluster %.60q cannot be part of a key: "+
			"use 1 to %d letters, digits, '_', '-' and '.'", cluster, maxCluster)
	}
	folder := c.config.Prefix + "/" + cluster
	return [keyCount]string{keyEpoch: folder + "/epoch", keyMaster: folder, keyHostname: folder + "/hostname",
		keyPort: folder + "/port", keyIPv4: folder + "/ipv4", keyIPv6: folder + "/ipv6",
		keyRevision: folder + "/revision"}, nil
}

// values returns what the keys are to hold.
func values(r routes.Record) [keyCount]string {
	return [keyCount]string{keyEpoch: r.Epoch.String(), keyMaster: r.Master.String(), keyHostname: r.Master.Host,
		keyPort: strconv.Itoa(int(r.Master.Port)), keyIPv4: r.IPv4, keyIPv6: r.IPv6,
		keyRevision: revision(r)}
}

// revision carries its epoch with it: a writer that knows no revisions leaves an
// old one behind.
func revision(r routes.Record) string {
	return r.Epoch.String() + "." + strconv.FormatUint(r.Revision, 10)
}

// parseRevision returns the revision that was written with an epoch; 0 for none.
func parseRevision(text string, epoch routes.Epoch) uint64 {
	number, ok := strings.CutPrefix(text, epoch.String()+".")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// pair is one key as it was read; the index is 0 where there is none.
type pair struct {
	value string
	index uint64
}

// held is what a cluster's keys hold.
type held [keyCount]pair

func (h held) index() uint64 { return h[keyEpoch].index }

func (h held) record(cluster string) routes.Record {
	record := routes.Record{Cluster: cluster, Master: routes.Server{Host: h[keyHostname].value},
		IPv4: h[keyIPv4].value, IPv6: h[keyIPv6].value}
	// What cannot be read stays zero, which is no epoch and no port.
	if epoch, err := routes.ParseEpoch(h[keyEpoch].value); err == nil {
		record.Epoch, record.Revision = epoch, parseRevision(h[keyRevision].value, epoch)
	}
	if port, err := strconv.ParseUint(h[keyPort].value, 10, 16); err == nil {
		record.Master.Port = uint16(port)
	}
	return record
}

// decide says whether the record must be written over what is held.
func (h held) decide(record routes.Record) (write bool, err error) {
	epoch := h.record(record.Cluster).Epoch
	if epoch.Compare(record.Epoch) > 0 {
		return false, &routes.HigherEpochError{Cluster: record.Cluster, Held: epoch, Offered: record.Epoch}
	}
	for i, want := range values(record) {
		// A later revision changes the readers, and nothing of what is said here:
		// consumers are not woken for it.
		if i == keyRevision && parseRevision(h[i].value, record.Epoch) > 0 {
			continue
		}
		if h[i].index == 0 || h[i].value != want {
			return true, nil
		}
	}
	return false, nil
}

// read asks for all keys at once, of the datacenter's leader and confirmed by a
// majority: a stale epoch must not look like the newest.
func (c *Consul) read(ctx context.Context, keys [keyCount]string) (held, error) {
	ops := make(api.TxnOps, 0, keyCount)
	for _, key := range keys {
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: key}})
	}
	options := &api.QueryOptions{RequireConsistent: true}
	ok, response, _, err := c.client.Txn().Txn(ops, options.WithContext(ctx))
	if err != nil {
		return held{}, fmt.Errorf("read %s: %w", keys[keyMaster], cause(ctx, err))
	}
	if !ok {
		return held{}, fmt.Errorf("read %s: %s", keys[keyMaster], reasons(response.Errors))
	}
	if len(response.Results) != keyCount {
		// Consul leaves out what the token may not read, without a word.
		return held{}, fmt.Errorf("read %s: Permission denied for %d of %d keys: "+
			"the token needs key_prefix %q { policy = \"write\" }",
			keys[keyMaster], keyCount-len(response.Results), keyCount, c.config.Prefix+"/")
	}
	var found held
	for i, result := range response.Results {
		if result == nil || result.KV == nil || result.KV.Key != keys[i] {
			return held{}, fmt.Errorf("read %s: the answer is not about it", keys[i])
		}
		found[i] = pair{value: string(result.KV.Value), index: result.KV.ModifyIndex}
	}
	return found, nil
}

// write sets all keys, provided that nobody has written the epoch since it was
// read with that index. It reports false when somebody has.
func (c *Consul) write(ctx context.Context, keys [keyCount]string, index uint64, record routes.Record) (bool, error) {
	ops := make(api.TxnOps, 0, keyCount)
	for i, value := range values(record) {
		op := &api.KVTxnOp{Verb: api.KVSet, Key: keys[i], Value: []byte(value)}
		if i == keyEpoch {
			// Index 0 means: only if there is none.
			op.Verb, op.Index = api.KVCAS, index
		}
		ops = append(ops, &api.TxnOp{KV: op})
	}
	ok, response, _, err := c.client.Txn().Txn(ops, new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return false, fmt.Errorf("write %s: %w", keys[keyMaster], cause(ctx, err))
	}
	if !ok && !overtaken(response.Errors) {
		return false, fmt.Errorf("write %s: %s", keys[keyMaster], reasons(response.Errors))
	}
	return ok, nil
}

// overtaken reports whether a transaction was rolled back for the one reason
// that a new look can mend.
func overtaken(errs api.TxnErrors) bool {
	return len(errs) == 1 && errs[0].OpIndex == keyEpoch && strings.Contains(errs[0].What, "index is stale")
}

func reasons(errs api.TxnErrors) string {
	texts := []string{"rolled back"}
	for _, err := range errs {
		texts = append(texts, err.What)
	}
	return strings.Join(texts, ": ")
}

// cause prefers the end of the context to what it did to the request.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
