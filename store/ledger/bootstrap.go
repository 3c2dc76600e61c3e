package ledger

import "fmt"

func (d *draft) bootstrap(c Bootstrap) string {
	if reason := badName("id", c.ID); reason != "" {
		return reason
	}
	if c.Generation == 0 {
		return "generation is 0"
	}
	if d.state.Generation != 0 {
		if d.state.ID != c.ID {
			return fmt.Sprintf("this is the ledger %q, not %q", d.state.ID, c.ID)
		}
		return ""
	}
	d.state.ID, d.state.Generation = c.ID, c.Generation
	d.note(FamilyHeader, "", Header(c))
	return ""
}
