package wire

// UserRole is what a user of the door may do. Each may do what those before it may.
type UserRole string

// The roles.
const (
	// Viewer reads.
	Viewer UserRole = "viewer"
	// Operator asks for what is done in the course of a day: switchovers, moves,
	// downtimes, acknowledgements.
	Operator UserRole = "operator"
	// Admin forces, and changes what is decided from then on.
	Admin UserRole = "admin"
)

// UserRoles lists the roles, the least first.
func UserRoles() []UserRole { return []UserRole{Viewer, Operator, Admin} }

// Covers reports whether r may do what a needs. What is no role covers nothing.
func (r UserRole) Covers(a UserRole) bool { return r.rank() > 0 && r.rank() >= a.rank() }

func (r UserRole) rank() int {
	for i, known := range UserRoles() {
		if r == known {
			return i + 1
		}
	}
	return 0
}
