package wal

import (
	"sync"
	"sync/atomic"
	"time"

	"kv/store/wal/folder"
)

// Stats are a log's figures.
type Stats struct {
	LogFiles        int64 // in the folder, by their names
	LogBytes        int64 // written to logs since the start, but for files' headers
	SinceSnapshot   int64 // bytes in logs that no snapshot covers, but for files' headers
	SnapshotBytes   int64 // of the newest snapshot; 0: there is none
	Queued          int64 // bytes of writes that are not in the log file yet
	Syncs           int64 // that have made writes durable, since the start
	TornBytes       int64 // cut off by the start
	Refusing        bool  // writes are refused: the log has failed, or there is no room
	RotationsFailed int64 // log files that could not be begun, since the start
	SnapshotsFailed int64 // since the start
	SnapshotFailing bool  // the last that was begun failed

	SnapshotAge time.Duration // since the newest snapshot was taken, or since Open if none was since
}

// counters are what Stats reads. Each is loaded by itself, and publishes nothing.
type counters struct {
	opened time.Time // fixed

	// The flusher's.
	bytes           atomic.Int64 // written to logs since the start
	logged          atomic.Int64 // bytes of records in all logs there were, as far as is known; the start sets it first
	syncs           atomic.Int64
	rotationsFailed atomic.Int64

	torn atomic.Int64 // bytes that the start cut off

	// Of snapshots: each that is taken, or fails, stores them; the start sets snapshot first.
	covered         atomic.Int64 // how much of logged the newest covers
	snapshot        atomic.Int64 // bytes of the newest
	snapshotAt      atomic.Int64 // when the newest was taken, in nanoseconds since opened
	snapshotsFailed atomic.Int64
	failing         atomic.Bool // the last that was begun failed

	counting sync.Mutex   // held while the log files are counted, so that no earlier count overwrites a later one
	files    atomic.Int64 // log files in the folder
}

// sinceSnapshot returns how many bytes of the logs no snapshot covers.
func (c *counters) sinceSnapshot() int64 { return c.logged.Load() - c.covered.Load() }

// countLogs counts the log files in the folder, for whoever has made or removed one. If it can't, the figure stays.
func (c *counters) countLogs(o Options) {
	c.counting.Lock()
	defer c.counting.Unlock()
	if d, err := folder.Read(o.FS, o.Dir); err == nil {
		c.files.Store(int64(len(d.Logs)))
	}
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	queued, refusing := l.queued, l.failed != nil || l.full != nil
	l.mu.Unlock()
	return Stats{
		LogFiles:        l.stat.files.Load(),
		LogBytes:        l.stat.bytes.Load(),
		SinceSnapshot:   l.stat.sinceSnapshot(),
		SnapshotBytes:   l.stat.snapshot.Load(),
		Queued:          queued,
		Syncs:           l.stat.syncs.Load(),
		TornBytes:       l.stat.torn.Load(),
		Refusing:        refusing,
		RotationsFailed: l.stat.rotationsFailed.Load(),
		SnapshotsFailed: l.stat.snapshotsFailed.Load(),
		SnapshotFailing: l.stat.failing.Load(),
		SnapshotAge:     time.Since(l.stat.opened) - time.Duration(l.stat.snapshotAt.Load()),
	}
}
