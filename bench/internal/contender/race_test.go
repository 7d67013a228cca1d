//go:build race

package contender

const raced = true
