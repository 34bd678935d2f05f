package netserver

import "time"

// MinRate is how many bytes a second of a request must come, and of an answer must be taken, once the time that every request
// and answer has is over. It holds at every door.
const MinRate = 64 << 10

// AtMinRate returns how long n bytes take at MinRate.
func AtMinRate(n int64) time.Duration { return time.Duration(n) * time.Second / MinRate }

// Owed returns how much time a client owes that has owed so much, was then waited for, and took n bytes meanwhile: the time
// waited comes on top, and a second comes off for each MinRate bytes; it never falls below 0. Time in which there was nothing
// to send comes off too: waited is negative then. A client that owes Config.WriteTimeout is given up: at once if it took
// nothing for that long, later if it takes something now and then.
func Owed(owed, waited time.Duration, n int64) time.Duration {
	return max(0, owed+waited-AtMinRate(n))
}
