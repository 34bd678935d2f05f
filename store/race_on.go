//go:build race

package store

// raceEnabled says that the program is built with the race detector: all is slower, and what is freed is overwritten.
const raceEnabled = true
