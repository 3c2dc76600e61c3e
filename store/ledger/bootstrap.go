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
	d.noteHeader()
	return ""
}

func (d *draft) noteHeader() {
	d.note(FamilyHeader, "", Header{ID: d.state.ID, Generation: d.state.Generation, LastAudit: d.state.LastAudit,
		Held: d.state.Held, Controllers: d.state.Controllers})
}
