package wal

import "sync/atomic"

// Stats are a log's figures.
type Stats struct {
	LogFiles      int64 // in the folder
	LogBytes      int64 // written since the start
	SinceSnapshot int64 // bytes in logs that no snapshot covers
	SnapshotBytes int64 // of the newest snapshot; 0: there is none
	Queued        int64 // bytes of writes that are not in the log file yet
	Syncs         int64 // since the start
	TornBytes     int64 // cut off by the start
}

// counters are what Stats reads, each by itself. The flusher adds to them, and the start.
type counters struct {
	files         atomic.Int64
	bytes         atomic.Int64
	sinceSnapshot atomic.Int64
	syncs         atomic.Int64
	torn          atomic.Int64
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	queued := l.queued
	l.mu.Unlock()
	return Stats{
		LogFiles:      l.stat.files.Load(),
		LogBytes:      l.stat.bytes.Load(),
		SinceSnapshot: l.stat.sinceSnapshot.Load(),
		SnapshotBytes: l.snap.size.Load(),
		Queued:        queued,
		Syncs:         l.stat.syncs.Load(),
		TornBytes:     l.stat.torn.Load(),
	}
}
