//go:build servers

package store

// kills is how often a controller is killed where there is time.
const kills = 400
