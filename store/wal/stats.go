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

// counters are what Stats reads, each by itself.
type counters struct {
	bytes           atomic.Int64 // the flusher adds to it
	logged          atomic.Int64 // bytes of records in all logs that there were, as far as is known; the start sets it, the flusher adds to it
	covered         atomic.Int64 // of those, the bytes that the newest snapshot covers; set by each that is taken
	snapshot        atomic.Int64 // the size of the newest; set by the start and by each that is taken
	syncs           atomic.Int64 // the flusher adds to it
	torn            atomic.Int64 // the start sets it
	rotationsFailed atomic.Int64 // the flusher adds to it
	snapshotsFailed atomic.Int64 // each that fails adds to it
	failing         atomic.Bool  // the last snapshot that was begun failed; set by each that ends. Publishes nothing
	snapshotAt      atomic.Int64 // when the last was taken, in nanoseconds since opened; each that is taken sets it
	opened          time.Time    // fixed

	counting sync.Mutex // held while logs are counted, so that a later count is not overwritten by an earlier one
	files    atomic.Int64
}

// sinceSnapshot returns how many bytes of the logs no snapshot covers.
func (c *counters) sinceSnapshot() int64 { return c.logged.Load() - c.covered.Load() }

// countLogs counts the logs in the folder. Called by whoever has made or removed one. If it can't look, the figure stays.
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
