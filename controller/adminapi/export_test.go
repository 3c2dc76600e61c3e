package adminapi

// Documented returns what the table and the descriptions of the OpenAPI document
// each have, by method and path; the calls of sidecars are described elsewhere.
func (s *Server) Documented() (table, described map[string]bool) {
	table, described = map[string]bool{}, map[string]bool{}
	for _, r := range s.routes {
		if !r.sidecars {
			table[r.method+" "+r.path] = true
		}
	}
	for name := range descriptions() {
		described[name] = true
	}
	return table, described
}
