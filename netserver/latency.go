package netserver

import (
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of a Latency's buckets.
var latencyBounds = [...]time.Duration{
	25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Latency says how long things have taken, as a histogram.
type Latency struct {
	Buckets map[float64]uint64 // how many took at most so many seconds
	Count   uint64             // how many there were
	Seconds float64            // all of them together
}

// latencies collect how long requests take. Each connection adds to one of several, so that cores do not wait for each
// other.
type latencies [8]latency

// latency is one of latencies. Its atomics are counts, and publish nothing.
type latency struct {
	counts [len(latencyBounds) + 1]atomic.Uint64 // requests that took at most a bound, and more than the one before
	nanos  atomic.Uint64                         // of all requests together
	_      [64]byte                              // the next is on other cache lines
}

// add notes n requests that took d each.
func (l *latency) add(n uint64, d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	l.counts[i].Add(n)
	l.nanos.Add(n * uint64(d))
}

// sum returns what all have collected.
func (all *latencies) sum() Latency {
	t := Latency{Buckets: make(map[float64]uint64, len(latencyBounds))}
	var nanos uint64
	for i := range all[0].counts {
		for j := range all {
			t.Count += all[j].counts[i].Load()
		}
		if i < len(latencyBounds) {
			t.Buckets[latencyBounds[i].Seconds()] = t.Count
		}
	}
	for j := range all {
		nanos += all[j].nanos.Load()
	}
	t.Seconds = time.Duration(nanos).Seconds()
	return t
}
