package app

import (
	"switchyard/controller/adminapi/wire"
	"switchyard/store"
	"switchyard/store/ledger"
)

// roster gives the parts of this controller the others as the store knows them at
// the moment: by the ledger, or until that has a set, by the configuration file.
type roster struct{ store *store.Store }

// urls are the doors of all controllers, by their ids.
func (r roster) urls() map[string]string {
	known := r.store.Controllers()
	out := make(map[string]string, len(known.Members))
	for _, one := range known.Members {
		out[one.ID] = one.API
	}
	return out
}

// shown are all controllers, as people are told of them.
func (r roster) shown() []wire.Controller {
	var out []wire.Controller
	for _, one := range r.store.Controllers().Members {
		out = append(out, wire.Controller{ID: one.ID, Raft: one.Raft, API: one.API, DataCenter: one.DataCenter})
	}
	return out
}

// keepers are the datacenters whose directories a controller of their own keeps. One
// that is being added may not even run yet, so that the leader still keeps its.
func keepers(known ledger.Controllers) []string {
	var out []string
	for _, one := range known.Members {
		if open := known.Change; open != nil && open.Kind == ledger.AddController && open.New && open.ID == one.ID {
			continue
		}
		out = append(out, one.DataCenter)
	}
	return out
}
