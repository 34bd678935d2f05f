package wal

import "time"

// backoff says when to try again what has failed and may pass: after first, after twice that, and so on up to longest.
type backoff struct {
	first, longest time.Duration // fixed
	pause          time.Duration // after the next failure; 0: first
	at             time.Time     // when to try again; zero: nothing has failed
}

func (b *backoff) failed() {
	b.pause = min(max(b.first, 2*b.pause), b.longest)
	b.at = time.Now().Add(b.pause)
}

func (b *backoff) succeeded() { b.pause, b.at = 0, time.Time{} }

// due reports whether it is time to try.
func (b *backoff) due() bool { return !time.Now().Before(b.at) }
