package cluster

import (
	"sync/atomic"
	"time"
)

// Counts is what a node has counted since it began.
type Counts struct {
	Elections uint64 // leaders that the node has seen chosen, itself or another
	Batches   uint64 // entries of the log that the node has proposed
	Writes    uint64 // records in them
	Dropped   uint64 // proposals that the library did not take, and that were made again or failed
	Refused   uint64 // writes that were not taken, since another node led, or none
	Unknown   uint64 // answers to writes whose end it did not see, and that it could only call unknown
	Rounds    uint64 // rounds of reads that it began
	Retries   uint64 // how often it had to ask again for the index of one
	Reads     uint64 // who waited for them: one is all that a connection had received at a time
	NoIndex   uint64 // rounds that ended without an index: those who waited were refused
	DiskHangs uint64 // how often it was to lead no more because its disk did not answer
	Sent      SnapshotCounts
	Taken     SnapshotCounts
}

// SnapshotCounts are of snapshots that went from one node to another.
type SnapshotCounts struct {
	Done, Failed uint64
	Took         time.Duration // all that are done together
}

// snapshotCounter counts SnapshotCounts, from any goroutine. The parts are counts, and publish nothing.
type snapshotCounter struct {
	done, failed atomic.Uint64
	took         atomic.Int64
}

// count counts one that began then.
func (s *snapshotCounter) count(began time.Time, err error) {
	if err != nil {
		s.failed.Add(1)
		return
	}
	s.took.Add(int64(time.Since(began)))
	s.done.Add(1)
}

func (s *snapshotCounter) load() SnapshotCounts {
	return SnapshotCounts{Done: s.done.Load(), Failed: s.failed.Load(), Took: time.Duration(s.took.Load())}
}

// LogCounts is the size of a node's log, and what the log has counted.
type LogCounts struct {
	Files int
	Bytes int64  // of entries that no snapshot of this node's covers
	Syncs uint64 // that made appends durable
	// SnapshotsFailed is how often a snapshot could not be written, so that the log grows.
	SnapshotsFailed uint64
	SnapshotFailing bool          // the last that was begun failed
	SnapshotBytes   int64         // of the newest snapshot; 0: there is none
	SnapshotAge     time.Duration // since that was written or received, or since the start if none was since
}

// snapshotFigures say how the newest snapshot is. The parts are figures, and publish nothing.
type snapshotFigures struct {
	since   time.Time    // when the journal was opened; fixed
	bytes   atomic.Int64 // of its file
	at      atomic.Int64 // when it was written, in nanoseconds since then
	failing atomic.Bool  // the last that was begun failed
}

// note notes that a snapshot of so many bytes was written.
func (f *snapshotFigures) note(bytes int64) {
	f.bytes.Store(bytes)
	f.at.Store(int64(time.Since(f.since)))
}

// Counts returns how the log is.
func (j *Journal) Counts() LogCounts {
	l := j.log
	base := l.Base().Index
	l.mu.Lock()
	files := len(l.segments)
	l.mu.Unlock()
	return LogCounts{
		Files: files, Bytes: l.BytesBehind(base), Syncs: l.syncs.Load(), SnapshotsFailed: j.snapshotsFailed.Load(), SnapshotFailing: j.newest.failing.Load(),
		SnapshotBytes: j.newest.bytes.Load(), SnapshotAge: time.Since(j.newest.since) - time.Duration(j.newest.at.Load()),
	}
}

// BytesBehind returns about how many bytes of the log are of entries behind index, as far as it has them.
func (l *FileLog) BytesBehind(index uint64) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.last + 1 // from there on, later files count
	for i := len(l.segments) - 1; i >= 0 && next > index+1; i-- {
		s := l.segments[i]
		if s.count == 0 || s.first >= next {
			continue
		}
		n += s.about(next) - s.about(max(index+1, s.first))
		next = s.first
	}
	return n
}
