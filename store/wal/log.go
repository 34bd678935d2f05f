package wal

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"time"

	"kv/store/vfs"
	"kv/store/wal/backup"
	"kv/store/wal/folder"
	"kv/store/wal/logfile"
)

// Policy says when a write is made durable.
type Policy int

const (
	// Always: before it is answered, and before any read shows it.
	Always Policy = iota
	// Interval: within about a second. A crash of the machine undoes what came later.
	Interval
	// Never: when the operating system likes, and at the end of each log file.
	Never
)

var policies = []string{"always", "interval", "never"}

// ParsePolicy reads a policy's name.
func ParsePolicy(s string) (Policy, error) {
	for i, name := range policies {
		if s == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("sync policy %q: it is one of always, interval, never", s)
}

// String returns the policy's name.
func (p Policy) String() string { return policies[p] }

// DefaultQueueBytes is Options.QueueBytes, where that is not set.
const DefaultQueueBytes = 64 << 20

// Options configure a Log. Dir is needed.
type Options struct {
	Dir    string       // the data folder; made if it does not exist
	FS     vfs.FS       // nil: vfs.OS
	Sync   Policy       // when writes are made durable
	Logger *slog.Logger // nil: slog.Default

	// Synced is called after each sync that made writes durable, with how long the sync took. Writes wait until it returns.
	// It may be nil.
	Synced func(took time.Duration)
	// Failed is called once, if the log fails, with what Log.Failed returns from then on. Nil: the log says so.
	Failed func(error)

	// Interval is the longest that policy Interval leaves a write unsynced; 0: a second.
	Interval time.Duration
	// RotateBytes is the size at which a log file is followed by a new one; 0: 64 MiB.
	RotateBytes int64
	// QueueBytes is how many bytes of writes may wait for the disk before Admit waits; 0: DefaultQueueBytes.
	QueueBytes int64
	// ReserveBytes is about how much room on the disk the log file has in advance: four times that unless the policy is
	// Always. 0: 4 MiB. Below 0: none.
	ReserveBytes int64
	// SnapshotBytes: a snapshot is due once the logs since the last one have so many bytes, or a quarter of the room on the
	// disk, and are larger than the last one. 0: 256 MiB. Below 0: snapshots are taken on demand only.
	SnapshotBytes int64
	// Retry is the first pause before the log looks again for room on a full disk; a file that could not be begun is tried
	// again after 20 times that. The pauses grow. 0: 50 ms.
	Retry time.Duration
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.RotateBytes == 0 {
		o.RotateBytes = 64 << 20
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 4 << 20
	}
	if o.Retry == 0 {
		o.Retry = 50 * time.Millisecond
	}
	if o.SnapshotBytes == 0 {
		o.SnapshotBytes = 256 << 20 // two or three seconds of recovery
	}
	return o
}

// file returns the options of the log's files.
func (o Options) file() logfile.Options {
	f := logfile.Options{FS: o.FS, Dir: o.Dir, Ahead: o.ReserveBytes}
	if o.Sync == Always {
		f.Zeros = min(mostZeros, max(0, f.Ahead/4))
	} else {
		f.Ahead *= 4 // nobody waits for writes, so more of them come before the next look for room
	}
	return f
}

// mostZeros is how many bytes of zeros are written at a time to make room.
const mostZeros = 256 << 10

// Log keeps the writes of one store in a folder. It is that store's journal.
type Log struct {
	o    Options
	lock io.Closer // of the folder
	queue
	flusher *flusher
	snap    snapshots
	backup.Limits
	stat counters

	progress progress // of Replay
}

// Open takes the folder and makes a log of it. What the folder holds is read by Replay, when a store is opened with the log.
func Open(o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
	}
	lock, _, err := folder.Lock(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, lock: lock}
	l.stat.opened = time.Now()
	l.queue.init(o)
	l.snap.init(o)
	l.flusher = newFlusher(o, &l.queue, &l.stat, func() { l.snap.consider(l) })
	return l, nil
}

// Failed returns why the log has failed, nil if it has not. A failure is final. The error matches store.ErrReadOnly.
func (l *Log) Failed() error {
	failed, _ := l.state()
	return failed
}

// Refusing returns why writes are refused, nil if they are not: the log has failed, or the disk has no room. Where there is
// no room, writes go on by themselves once there is. The error matches store.ErrReadOnly.
func (l *Log) Refusing() error {
	failed, full := l.state()
	return cmp.Or(failed, full)
}

// Sync waits until all that was appended before is on disk, whatever the policy.
func (l *Log) Sync() error { return l.ask(&request{}) }

// Close writes and syncs what was appended, ends the log and unlocks the folder. An error means that not all of it is on
// disk. To close again does nothing.
func (l *Log) Close() error {
	l.snap.stop()
	l.mu.Lock()
	first := !l.closing
	running := l.running
	l.closing = true
	l.updateAdmits()
	l.changed.Broadcast()
	l.mu.Unlock()
	if running {
		l.poke()
		<-l.flusher.ended
	}
	if !first {
		return nil
	}
	err := l.Failed()
	if err := l.lock.Close(); err != nil {
		return fmt.Errorf("data folder %s: %w", l.o.Dir, err)
	}
	return err
}
