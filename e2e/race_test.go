//go:build race

package e2e

// race tells that the tests run with the race detector; the programs they drive then do too.
const race = true
