package config

import (
	"fmt"
	"strings"
	"time"
)

func (s *Sidecars) defaults() { s.Lease, s.Fence = 10*time.Second, 3*time.Second }

// leaseMargin is the least time that a lease must outlast the longest fence: a
// renewal has to come in it.
const leaseMargin = time.Second

// checkDatabases checks what is said of the database sidecars.
func (d *Document) checkDatabases(s *Sidecars) error {
	const longest = time.Minute
	switch {
	case s.Fence < 100*time.Millisecond || s.Fence > longest:
		return d.Errorf("sidecars.fence", "is %s; want 100ms to %s", s.Fence, longest)
	case s.Lease < s.Fence+leaseMargin || s.Lease > 10*longest:
		return d.Errorf("sidecars.lease", "is %s; want at least %s more than sidecars.fence (%s), as a fence begins before the lease ends, "+
			"and at most %s", s.Lease, leaseMargin, s.Fence, 10*longest)
	}
	servers, urls := map[string]string{}, map[string]string{}
	for i, b := range s.Databases {
		at := fmt.Sprintf("sidecars.databases[%d]", i)
		s.Databases[i].Server = strings.ToLower(b.Server) // as servers are known
		if err := d.CheckAdvertised(at+".server", b.Server); err != nil {
			return err
		}
		if _, err := d.CheckURL(at+".http", b.HTTP); err != nil {
			return err
		}
		if err := d.Unique(servers, s.Databases[i].Server, at+".server", "name each server once"); err != nil {
			return err
		}
		if err := d.Unique(urls, b.HTTP, at+".http", "give each sidecar's own address"); err != nil {
			return err
		}
	}
	return nil
}
