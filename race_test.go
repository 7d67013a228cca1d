//go:build race

package wshub

const raceEnabled = true
