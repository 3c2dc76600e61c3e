//go:build !servers

package store

// kills is how often the quick loop kills a controller.
const kills = 32
