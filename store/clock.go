package store

import (
	"math"
	"sync/atomic"
	"time"
)

// clock tells the time by which keys expire. It never steps back, so that what has expired stays so: it goes on at the
// pace of the monotonic clock, and follows the wall clock only forward.
type clock struct {
	// read returns the wall clock and a monotonic one, both in microseconds. Fixed.
	read func() (wall, mono int64)
	// lead publishes how far the wall clock has been ahead of the monotonic one at most; it only grows.
	lead atomic.Int64
}

var processStart = time.Now()

func systemClock() (wall, mono int64) {
	now := time.Now()
	return now.UnixMicro(), now.Sub(processStart).Microseconds()
}

// millis returns the time in Unix milliseconds, as expiry counts it. It only reads: a reader may call it.
func (c *clock) millis() uint64 {
	_, mono := c.read()
	return uint64(mono+c.lead.Load()) / 1000
}

// follow lets the clock catch up with the wall clock and returns it in Unix microseconds. Writers and the sweeper call it.
func (c *clock) follow() uint64 {
	wall, mono := c.read()
	for {
		lead := c.lead.Load()
		if wall-mono <= lead || c.lead.CompareAndSwap(lead, wall-mono) {
			return uint64(mono + max(lead, wall-mono))
		}
	}
}

// after returns the time that is ttl milliseconds from now, at most the largest uint64; 0 stays 0.
func (c *clock) after(ttl uint64) uint64 {
	if ttl == 0 {
		return 0
	}
	now := c.follow() / 1000
	if ttl > math.MaxUint64-now {
		return math.MaxUint64
	}
	return now + ttl
}

// expiredAt reports whether e has expired at this time, in Unix milliseconds.
func (e *Entry) expiredAt(now uint64) bool {
	at := e.Expiry()
	return at != 0 && at <= now
}

// expired reports whether e has expired by now.
func (s *Store) expired(e *Entry) bool { return e.Expiry() != 0 && e.expiredAt(s.clock.millis()) }
