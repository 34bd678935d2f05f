package netserver

import "time"

// MinRate is how many bytes a second must come of a request, and be taken of an answer, once the time that it has anyway is
// over. It holds at every door.
const MinRate = 64 << 10

// AtMinRate returns how long n bytes take at MinRate.
func AtMinRate(n int64) time.Duration { return time.Duration(n) * time.Second / MinRate }

// Owed returns what a client owes who owed so much before, was then waited for, and took n bytes meanwhile: the time
// that it is waited for, less a second for each MinRate bytes that it takes; never less than none. Time in which there
// was nothing to send comes off: it is waited below 0. Who owes Config.WriteTimeout is given up: who takes nothing for
// that long, and who takes something now and then some time later.
func Owed(owed, waited time.Duration, n int64) time.Duration {
	return max(0, owed+waited-AtMinRate(n))
}
