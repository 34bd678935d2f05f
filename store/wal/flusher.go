package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"kv/store"
	"kv/store/vfs"
)

// flusher is the state of the goroutine that writes.
type flusher struct {
	id     uint64 // of the store
	seq    uint64 // of the file
	base   int64  // the position of its first byte
	size   int64  // the bytes that were written to it
	room   int64  // up to where zeros were put behind those; size or less: nowhere
	synced int64  // the position up to which the log is on disk
	name   string
	file   vfs.File
	enc    encoder

	dirty  bool      // there are writes behind the last sync
	marked bool      // the file says how far it was synced: nothing was synced since the last mark
	since  time.Time // when it became dirty, or was synced

	took time.Duration // how long the last sync took
}

// run is the flusher's goroutine.
func (l *Log) run() {
	defer close(l.ended)
	f := &l.f
	defer func() {
		if f.file != nil {
			f.file.Close()
		}
	}()
	for {
		b, requests, closing := l.take()
		err := l.flush(b, len(requests) > 0 || closing)
		if err == nil {
			l.finish(b)
		}
		for _, r := range requests {
			if err == nil && r.rotate {
				err = l.rotate()
			}
			if err == nil {
				r.seq, r.base = f.seq, f.base
			}
			close(r.done)
		}
		if err == nil && f.size >= l.o.RotateBytes {
			err = l.rotate()
		}
		if err == nil && closing {
			err = l.end()
		}
		if err != nil {
			l.fail(err)
			return
		}
		if closing {
			l.refuse(fmt.Errorf("%w: the log is closed", store.ErrReadOnly))
			return
		}
		l.snap.consider(l)
	}
}

// take waits until there is something to do, and returns the batch to write, which may be empty.
func (l *Log) take() (b *batch, requests []*request, closing bool) {
	var until time.Time // how long what waits may wait for more; zero: nothing did so far
	for {
		own, hasOwn := l.f.next(l.o)
		if l.o.Sync == Always && !l.o.FS.SyncsAside() {
			l.yield()
		}
		l.mu.Lock()
		waiting := l.open.writes > 0
		pause := linger
		if l.o.Sync == Always {
			pause = l.gather()
		}
		if waiting && until.IsZero() {
			until = time.Now().Add(pause)
		}
		if waiting && (pause == 0 || !time.Now().Before(until)) || l.open.bytes >= writeChunk || len(l.requests) > 0 || l.closing ||
			hasOwn && !time.Now().Before(own) {
			b, requests, closing = l.open, l.requests, l.closing
			l.busy, l.open, l.requests = b, newBatch(), nil
			l.mu.Unlock()
			return b, requests, closing
		}
		l.mu.Unlock()

		var timeout <-chan time.Time
		switch {
		case waiting:
			timeout = time.After(time.Until(until))
		case hasOwn:
			timeout = time.After(time.Until(own))
		}
		select {
		case <-l.wake:
		case <-timeout:
		}
	}
}

// yield lets all writers that can run go first, until none of them appends any more. The first to append wakes the flusher,
// which Go's scheduler runs next; where a sync keeps the others from running, it would sync for that one alone.
func (l *Log) yield() {
	for before := -1; ; {
		l.mu.Lock()
		n, full := l.open.writes, l.open.bytes >= writeChunk
		l.mu.Unlock()
		if n == 0 || n == before || full {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// gather returns how long to wait, under policy Always, for a fuller batch than the open one. Those that the last sync
// answered will soon write again, and without a pause they would miss the next one: the writers would part into two halves,
// each waiting for the other's sync and for its own. A lone writer never waits. Called with mu held.
func (l *Log) gather() time.Duration {
	if l.open.writes >= l.expected {
		return 0
	}
	return min(l.f.took/4, maxGather)
}

// next returns when the flusher has something to do that nobody asks for.
func (f *flusher) next(o Options) (time.Time, bool) {
	switch {
	case o.Sync == Interval && f.dirty:
		return f.since.Add(o.Interval), true
	case o.Sync != Never && !f.dirty && !f.marked:
		return f.since.Add(restAfter), true
	}
	return time.Time{}, false
}

// flush writes b, and syncs if sync or the policy says so.
func (l *Log) flush(b *batch, sync bool) error {
	f := &l.f
	own, hasOwn := f.next(l.o)
	overdue := hasOwn && !time.Now().Before(own)
	if b.writes > 0 {
		if err := l.write(b); err != nil {
			return err
		}
	}
	switch {
	case sync || l.o.Sync == Always && b.writes > 0 || overdue && f.dirty:
		return l.sync()
	case overdue:
		return l.mark()
	}
	return nil
}

// write encodes and writes b.
func (l *Log) write(b *batch) error {
	f := &l.f
	if !f.dirty {
		f.dirty, f.since = true, time.Now()
	}
	f.marked = false
	l.reserve(b.bytes)
	for _, p := range b.pieces {
		if p.records != nil {
			seal(p.records, f.synced, f.enc.seed)
			if err := l.wrote(len(p.records), writeAll(f.file, p.records)); err != nil {
				return err
			}
			continue
		}
		f.enc.record(p.large.version, f.synced, p.large.entries)
		if err := l.writeOut(); err != nil {
			return err
		}
	}
	return nil
}

// reserve sees to it that the next n bytes are written over zeros, under policy Always: a sync that has no new length to make
// durable takes little more than half the time. A large batch is not worth it, since its bytes would be written twice. Where it
// can't be done, the disk being nearly full, the log does without: an error that matters is one of the write or the sync too.
func (l *Log) reserve(n int64) {
	f := &l.f
	if l.o.Sync != Always || n > l.o.ReserveBytes/8 || f.size+n <= f.room {
		return
	}
	to := f.size + l.o.ReserveBytes
	if err := f.file.Zero(max(f.size, f.room), to); err != nil {
		l.o.Logger.Debug("no room reserved in the log", "dir", l.o.Dir, "log", f.name, "err", err)
		return
	}
	f.room = to
}

// trim takes back what reserve has put behind the log's end. Should a crash undo that, the zeros are no harm.
func (l *Log) trim() error {
	f := &l.f
	if f.room <= f.size {
		return nil
	}
	if err := f.file.Truncate(f.size); err != nil {
		return l.logError(err)
	}
	f.room = 0
	return nil
}

// writeOut writes what was encoded.
func (l *Log) writeOut() error {
	n := l.f.enc.n
	return l.wrote(n, l.f.enc.writeTo(l.f.file))
}

// wrote books that n bytes were written, unless err says that they were not.
func (l *Log) wrote(n int, err error) error {
	f := &l.f
	if err != nil {
		return l.logError(err)
	}
	f.size += int64(n)
	l.stat.bytes.Add(int64(n))
	l.stat.sinceSnapshot.Add(int64(n))
	return nil
}

// sync makes durable what was written.
func (l *Log) sync() error {
	f := &l.f
	if f.synced == f.base+f.size {
		return nil
	}
	start := time.Now()
	if err := f.file.Sync(); err != nil {
		return l.logError(err)
	}
	f.took = time.Since(start)
	l.stat.syncs.Add(1)
	f.synced = f.base + f.size
	f.dirty, f.since = false, time.Now()
	return nil
}

// logError says which log err is about. The file system knows it by the name that it was made with.
func (l *Log) logError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return fmt.Errorf("log %s: %w", filepath.Join(l.o.Dir, l.f.name), err)
}

// mark writes down how far the log is synced.
func (l *Log) mark() error {
	l.f.enc.record(0, l.f.synced, nil)
	l.f.marked = true
	return l.writeOut()
}

// end leaves the file complete.
func (l *Log) end() error {
	if err := l.trim(); err != nil {
		return err
	}
	if err := l.sync(); err != nil || l.f.marked {
		return err
	}
	if err := l.mark(); err != nil {
		return err
	}
	return l.sync()
}

// rotate begins the next file.
func (l *Log) rotate() error {
	f := &l.f
	if err := l.trim(); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	if err := f.file.Close(); err != nil {
		return l.logError(err)
	}
	return l.begin(f.seq+1, f.base+f.size, nil)
}

// begin makes the file of this sequence, with these records in it, and makes it the one that is written.
func (l *Log) begin(seq uint64, base int64, records func() error) error {
	f := &l.f
	files := l.o.FS
	f.seq, f.base, f.name = seq, base, logName(seq)
	name := filepath.Join(l.o.Dir, f.name)
	h := header{magicLog, f.id, seq, base}
	f.enc.reset()
	f.enc.seed = h.seed()
	f.enc.buf = h.append(f.enc.buf)
	f.enc.n = headerSize
	f.size, f.room, f.synced = 0, 0, base
	err := func() (err error) {
		if f.file, err = files.Create(name + tmpSuffix); err != nil {
			return err
		}
		if records != nil {
			if err := records(); err != nil {
				return err
			}
		}
		if err := l.writeOut(); err != nil {
			return err
		}
		if err := l.sync(); err != nil {
			return err
		}
		if err := files.Rename(name+tmpSuffix, name); err != nil {
			return err
		}
		return files.SyncDir(l.o.Dir)
	}()
	if err != nil {
		return fmt.Errorf("begin log %s: %w", f.name, err)
	}
	f.marked = records == nil
	l.stat.files.Add(1)
	return nil
}

// finish lets go on what waits for b.
func (l *Log) finish(b *batch) {
	if l.o.Sync == Always && b.writes > 0 {
		// All of b is on disk (W3): whoever reads this value, here or in Wait, may let out what is of this version or older.
		l.durable.Store(b.last)
	}
	l.mu.Lock()
	l.expected = (b.writes + l.open.writes) * 3 / 4 // not all of them, or each would wait for the slowest
	l.busy = nil
	l.queued -= b.bytes
	b.release(&l.spare)
	l.settle()
	l.room.Broadcast()
	l.mu.Unlock()
	close(b.done)
}

// fail ends all writing: W6.
func (l *Log) fail(cause error) {
	err := fmt.Errorf("%w: %w", store.ErrReadOnly, cause)
	l.mu.Lock()
	l.failed = err
	l.mu.Unlock()
	l.refuse(err)
	if l.o.Failed != nil {
		l.o.Failed(err)
	} else {
		l.o.Logger.Error("the log failed: no more writes until a restart", "dir", l.o.Dir, "err", cause)
	}
}

// refuse makes all that waits, and all that comes, fail with err.
func (l *Log) refuse(err error) {
	l.mu.Lock()
	l.err = err
	l.settle()
	batches := []*batch{l.open}
	if l.busy != nil {
		batches = append(batches, l.busy)
	}
	requests := l.requests
	l.open, l.busy, l.requests, l.queued = newBatch(), nil, nil, 0
	l.room.Broadcast()
	l.mu.Unlock()
	for _, b := range batches {
		close(b.done)
	}
	for _, r := range requests {
		close(r.done)
	}
}
