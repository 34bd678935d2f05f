//go:build race

package store

const raceEnabled = true // the race detector makes all slower
