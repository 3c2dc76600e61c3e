package wire

import "time"

// The paths of what is asked about datacenters.
const (
	PathDatacenters    = "/api/v1/datacenters"
	PathDatacenterDown = "/api/v1/datacenter-down"
	PathDatacenterUp   = "/api/v1/datacenter-up"
)

// DataCenters is the answer to GET /api/v1/datacenters.
type DataCenters struct {
	DataCenters []DataCenter `json:"datacenters"`
}

// DataCenter is one datacenter, as far as this controller knows what is in it.
type DataCenter struct {
	DataCenter string `json:"dc"`
	// Controllers are those in it, by their ids, and Leads is whether the leader is
	// one of them.
	Controllers []string `json:"controllers"`
	Leads       bool     `json:"leads"`
	// Servers is how many database servers are in it, and Masters names the clusters
	// whose master is one of them.
	Servers int      `json:"servers"`
	Masters []string `json:"masters"`
	// Down is the mark of an operator; nil where there is none.
	Down *DataCenterDown `json:"down,omitempty"`
}

// DataCenterDown says who marked a datacenter down, and until when.
type DataCenterDown struct {
	DataCenter string    `json:"dc"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
	Begun      time.Time `json:"begun"`
	Until      time.Time `json:"until"`
}

// DatacenterDownRequest is the body of POST /api/v1/datacenter-down.
type DatacenterDownRequest struct {
	DataCenter string   `json:"dc"`
	Duration   Duration `json:"duration"`
	Asker
}

// DatacenterUpRequest is the body of POST /api/v1/datacenter-up.
type DatacenterUpRequest struct {
	DataCenter string `json:"dc"`
	Asker
}

// Check says what is wrong with r.
func (r DatacenterDownRequest) Check() *Error {
	return first(checkDatacenter(r.DataCenter), checkDuration("duration", r.Duration), r.because(true))
}

// Check says what is wrong with r.
func (r DatacenterUpRequest) Check() *Error {
	return first(checkDatacenter(r.DataCenter), r.because(false))
}

func checkDatacenter(name string) *Error {
	if name == "" {
		return badField("dc", "is missing", "see `switchyard datacenters list`")
	}
	return checkText("dc", name, MaxName)
}
