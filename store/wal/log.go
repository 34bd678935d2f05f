package wal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/vfs"
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
	Dir    string       // the folder, made where it is missing
	FS     vfs.FS       // nil: vfs.OS
	Sync   Policy       //
	Logger *slog.Logger // nil: slog.Default

	// Failed is called once, if the log fails, with what Log.Failed returns from then on.
	Failed func(error)

	Interval      time.Duration // of policy Interval; 0: a second
	RotateBytes   int64         // a log file that has grown to this is followed by a new one; 0: 64 MiB
	QueueBytes    int64         // while so many bytes of writes wait for the disk, Admit waits; 0: DefaultQueueBytes
	ReserveBytes  int64         // of policy Always: the log file is made longer by so much, in advance; 0: 256 KiB; below 0: it is not
	SnapshotBytes int64         // a snapshot is due once the logs have this many bytes, and more than the last one; 0: 256 MiB; below 0: only on demand
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
		o.ReserveBytes = 256 << 10
	}
	if o.SnapshotBytes == 0 {
		o.SnapshotBytes = 256 << 20 // two or three seconds of recovery
	}
	return o
}

// Log keeps the writes of one store in a folder. It is that store's journal.
type Log struct {
	o    Options
	lock io.Closer // of the folder

	// mu orders the writes: it guards what follows, and is never held while the disk is waited for.
	mu       sync.Mutex
	last     uint64     // the newest version that was given out
	open     *batch     // collects writes for the flusher; never nil
	busy     *batch     // what the flusher has in hand; nil: nothing
	queued   int64      // bytes in open and busy
	spare    [][]byte   // chunks for the records of batches, empty
	expected int        // how many writes a batch should have: most of those that waited for the last one, or came meanwhile
	room     sync.Cond  // queued fell, or err was set
	requests []*request // for the flusher
	running  bool       // the flusher runs: Replay has returned
	closing  bool       // Close was called
	err      error      // why nothing can be written any more; once set, never changed
	failed   error      // err, if it is a failure
	taps     taps       // of the backups that run

	// admits says that a write need neither wait nor be refused. Stored with mu held, by settle, whenever that changes; Admit
	// loads it without, and a write that it lets pass then may be one of a few too many, or is refused by Append.
	admits atomic.Bool
	// durable is the version up to which Wait returns at once, MaxUint64 where the policy promises nothing. Only the
	// flusher stores it, after the sync that makes it true.
	durable atomic.Uint64
	wake    chan struct{} // of capacity 1: there is something for the flusher
	ended   chan struct{} // closed when the flusher has returned

	f flusher // owned by the flusher's goroutine once that runs

	snap snapshots
	stat counters

	progress progress // of Replay
}

// request asks the flusher for more than the next batch.
type request struct {
	rotate bool // begin a new file
	done   chan struct{}
	// Set before done is closed.
	seq  uint64 // the sequence of the file that is written now
	base int64  // its base
}

// Open takes the folder and makes a log of it. What the folder holds is read by Replay, when a store is opened with the log.
func Open(o Options) (*Log, error) {
	o = o.withDefaults()
	lock, err := lockFolder(o.FS, o.Dir, true)
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, lock: lock, open: newBatch(), wake: make(chan struct{}, 1), ended: make(chan struct{})}
	l.room.L = &l.mu
	l.snap.init()
	if o.Sync != Always {
		l.durable.Store(math.MaxUint64)
	}
	return l, nil
}

// lockFolder takes the folder's lock, and makes the folder if create is set.
func lockFolder(fs vfs.FS, dir string, create bool) (io.Closer, error) {
	if create {
		if err := fs.MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("data folder %s: %w", dir, err)
		}
	} else if _, err := fs.List(dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	lock, err := fs.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("data folder %s is in use by another process: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return lock, nil
}

// Failed returns why the log has failed, nil while it has not. It matches store.ErrReadOnly.
func (l *Log) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Sync waits until all that was appended before is on disk, whatever the policy.
func (l *Log) Sync() error {
	return l.ask(&request{})
}

// ask has the flusher do what r says, and sync.
func (l *Log) ask(r *request) error {
	r.done = make(chan struct{})
	l.mu.Lock()
	if err := l.refusal(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.requests = append(l.requests, r)
	l.mu.Unlock()
	l.poke()
	<-r.done
	if r.seq == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.err
	}
	return nil
}

// refusal returns why nothing can be appended. Called with mu held.
func (l *Log) refusal() error {
	switch {
	case l.err != nil:
		return l.err
	case !l.running || l.closing:
		return errNotOpen
	}
	return nil
}

// settle brings admits up to date. Called with mu held.
func (l *Log) settle() { l.admits.Store(l.queued < l.o.QueueBytes && l.refusal() == nil) }

var errNotOpen = fmt.Errorf("%w: the log is not open", store.ErrReadOnly)

// poke wakes the flusher.
func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close writes and syncs what was appended, ends the log and lets the folder go. The error is why not all of it is on disk.
func (l *Log) Close() error {
	l.snap.stop()
	l.mu.Lock()
	first := !l.closing
	running := l.running
	l.closing = true
	l.settle()
	l.mu.Unlock()
	if running {
		l.poke()
		<-l.ended
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
