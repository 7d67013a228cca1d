//go:build !race

package main

// race tells that the tests run with the race detector, which makes them ten times slower.
const race = false
