package wal

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"kv/store"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
	"kv/store/wal/record"
)

// flusher is the goroutine that writes. It owns all that is here; with the writers it shares the queue alone, and what it
// knows of a piece of work goes back through the queue's finish, hold and fail.
//
// Three kinds of errors. One of a write of records, or of a sync, is final: W6. Where there is no room, the flusher
// holds what it has, and tries again. And a file that can't be begun is done without: see rotate.
type flusher struct {
	o     Options
	q     *queue
	stat  *counters
	after func()                        // called after each piece of work that was done
	ended chan struct{}                 // closed when it has returned
	begin func() (*logfile.File, error) // makes the first file, while that could not be made for want of room

	file   *logfile.File // nil: see begin
	began  int64         // counters.logged, when file was begun
	marked bool          // nothing was synced since the last mark, so the file says how far it was
	dirty  bool          // there are writes behind the last sync
	since  time.Time     // when it became dirty, or was synced
	took   time.Duration // how long the last sync took

	held     error     // why the batch in hand could not be written; nil: it could
	room     backoff   // when to look for room again
	rotation backoff   // when to try again to begin a file
	toldFull time.Time // when it was told that writes are refused; zero: they are not
}

func newFlusher(o Options, q *queue, stat *counters, after func()) *flusher {
	return &flusher{
		o: o, q: q, stat: stat, after: after, ended: make(chan struct{}),
		room: backoff{first: o.Retry, longest: 20 * o.Retry}, rotation: backoff{first: 20 * o.Retry, longest: 1200 * o.Retry},
	}
}

// run is the flusher's goroutine.
func (f *flusher) run() {
	defer close(f.ended)
	for {
		w := f.q.take(f.pace())
		if err := f.do(&w); err != nil {
			f.fail(w, err)
			break
		}
		f.tell()
		if w.closing {
			f.close(w)
			break
		}
		f.after()
	}
	if f.file != nil {
		f.file.Close()
	}
}

func (f *flusher) pace() pace {
	always := f.o.Sync == Always
	return pace{due: f.due(), always: always, yield: always && !f.o.FS.SyncsAside(), took: f.took}
}

// due returns when the flusher has something to do that nobody asks for; zero: it has not.
func (f *flusher) due() time.Time {
	at := f.restAt()
	if f.file == nil || f.held != nil || f.file.Short() != nil {
		if at.IsZero() || f.room.at.Before(at) {
			at = f.room.at
		}
	}
	return at
}

// restAt returns when what was written is to be synced, or marked, without being asked for; zero: it is not.
func (f *flusher) restAt() time.Time {
	switch {
	case f.file == nil:
	case f.o.Sync == Interval && f.dirty:
		return f.since.Add(f.o.Interval)
	case f.o.Sync != Never && !f.dirty && !f.marked:
		return f.since.Add(restAfter)
	}
	return time.Time{}
}

// do does a piece of work, and answers the requests in it: those that are left in it had no answer yet when an error, which
// is final, came between.
func (f *flusher) do(w *work) error {
	if f.first() {
		if err := f.flush(w.batch, w.syncs()); err != nil {
			return err
		}
	}
	var full error
	if f.held != nil {
		f.room.failed()
		full = f.q.hold(w.batch, f.held)
	} else {
		f.q.finish(w.batch, f.o.Sync == Always, f.file.Short(), f.grant())
	}
	for len(w.requests) > 0 {
		r, err := w.requests[0], full
		if r.room > 0 && f.file != nil && f.held == nil {
			err = f.fit(r.room)
		}
		if r.rotate && f.file != nil { // what is held goes to the next file
			var fatal error
			if err, fatal = f.advance(); fatal != nil {
				return fatal
			}
			r.head, r.logged = f.file.Header(), f.began
		}
		w.requests = w.requests[1:]
		r.resolve(err)
	}
	if f.file != nil && f.file.Size() >= f.o.RotateBytes && f.rotation.due() && !w.closing {
		if _, fatal := f.advance(); fatal != nil {
			return fatal
		}
	}
	return nil
}

// first makes the first file, if there is none yet, and reports whether there is one.
func (f *flusher) first() bool {
	if f.file == nil {
		if f.file, f.held = f.begin(); f.file != nil {
			f.use(f.file)
			f.reserve(0)
		}
	}
	return f.file != nil
}

// flush writes b, or sets held, and syncs if sync or the policy says so.
func (f *flusher) flush(b *batch, sync bool) error {
	rest := f.restAt()
	overdue := !rest.IsZero() && !time.Now().Before(rest)
	f.held = nil
	if b.writes > 0 || f.file.Short() != nil {
		f.reserve(b.bytes)
	}
	if b.writes > 0 {
		before := f.file.Size()
		if err := f.write(b); logfile.NoRoom(err) {
			f.held = err
		} else if err != nil {
			return err
		}
		if f.held == nil && !f.dirty {
			f.dirty, f.since = true, time.Now()
		}
		f.count(f.file.Size() - before)
	}
	switch {
	case sync || f.o.Sync == Always && b.writes > 0 || overdue && f.dirty:
		return f.sync()
	case overdue:
		return f.mark()
	}
	return nil
}

// reserve makes room for n bytes and for what comes behind them, and lets the queue know where there is less than enough.
func (f *flusher) reserve(n int64) {
	again := f.room.due()
	f.file.Reserve(n, again)
	switch {
	case f.file.Short() == nil && f.held == nil:
		f.room.succeeded()
	case again && f.held == nil:
		f.room.failed()
	}
	f.q.setRoom(f.file.Short(), f.grant())
}

// fit looks for room for n bytes behind all that is queued, and lets the queue know of it. The error says that there is
// none: where that is for want of less than there is to be in advance, all writes are refused until there is, else only
// the one that asks.
func (f *flusher) fit(n int64) error {
	all := f.q.bytes() + n
	if n <= f.o.ReserveBytes {
		f.reserve(all)
		return f.q.refuseUnless(f.grant() >= all, f.file.Short(), n)
	}
	err := f.file.Fit(all + frame.MarkSize)
	f.q.setRoom(f.file.Short(), f.grant())
	if err != nil {
		return fmt.Errorf("%w: no room on the disk for a write of %d bytes: %w", store.ErrReadOnly, n, err)
	}
	return nil
}

// grant returns how many bytes of records the file is certain to have room for, short of the disk's failing, as far as
// it can tell.
func (f *flusher) grant() int64 {
	n := f.file.Grant()
	if n == math.MaxInt64 {
		return n
	}
	return max(0, n-frame.MarkSize)
}

// write appends b to the file.
func (f *flusher) write(b *batch) error {
	err := f.file.Append(func() error {
		for _, p := range b.pieces {
			if p.records != nil {
				record.Seal(p.records, f.file.Synced(), f.file.Encoder().Seed())
				if err := frame.WriteAll(f.file, p.records); err != nil {
					return err
				}
				continue
			}
			record.Encode(f.file.Encoder(), p.large.version, f.file.Synced(), p.large.entries)
			if err := f.file.WriteOut(); err != nil {
				return err
			}
		}
		return nil
	})
	f.marked = f.marked && err != nil
	return err
}

// count books n bytes that were written.
func (f *flusher) count(n int64) {
	f.stat.bytes.Add(n)
	f.stat.logged.Add(n)
}

// sync makes durable what was written.
func (f *flusher) sync() error {
	if f.file.Synced() == f.file.End() {
		return nil
	}
	start := time.Now()
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.took = time.Since(start)
	f.stat.syncs.Add(1)
	if f.o.Synced != nil {
		f.o.Synced(f.took)
	}
	f.dirty, f.since = false, time.Now()
	return nil
}

// mark writes down how far the log is synced.
func (f *flusher) mark() error {
	err := f.file.Append(func() error {
		f.file.Encoder().Mark(f.file.Synced())
		return f.file.WriteOut()
	})
	if logfile.NoRoom(err) {
		f.since = time.Now() // it is tried again after as long
		return nil
	}
	if err == nil {
		f.marked = true
		f.count(frame.MarkSize)
	}
	return err
}

// advance is rotate, and room in the file in which the log goes on, for what is queued too.
func (f *flusher) advance() (err, fatal error) {
	if f.o.ReserveBytes > 0 {
		f.q.narrow(f.o.ReserveBytes / 4) // as much as the next file will have at least
	}
	if err, fatal = f.rotate(); fatal == nil {
		f.reserve(f.q.bytes())
	}
	return err, fatal
}

// rotate begins the next file. Where that can't be done, the log goes on in the one it has, and err says why: until the next
// file has a record in it, that is where a start would go on, too, whatever names the folder has. Only a sync of what was
// written is final if it fails.
func (f *flusher) rotate() (err, fatal error) {
	if fatal := f.sync(); fatal != nil {
		return nil, fatal
	}
	old := f.file
	seq := old.Header().Seq + 1
	h := frame.Header{Magic: frame.MagicLog, ID: old.Header().ID, Seq: seq, Base: old.End()}
	next, err := logfile.Create(f.o.file(), h, nil)
	if err != nil {
		f.o.FS.Remove(filepath.Join(f.o.Dir, folder.LogName(seq))) // that it may stay is no harm, see above
		f.rotation.failed()
		f.stat.rotationsFailed.Add(1)
		f.stat.countLogs(f.o)
		f.o.Logger.Error("the next log file can't be begun: the log goes on in this one",
			"dir", f.o.Dir, "log", old.Name(), "error", err, "again", f.rotation.pause.String())
		return err, nil
	}
	f.rotation.succeeded()
	f.use(next)
	// The old file is complete and on the disk: what is done to it now is for order's sake.
	if err := errors.Join(old.Trim(), old.Close()); err != nil {
		f.o.Logger.Warn("a log file that is complete can't be cut to its length and closed",
			"dir", f.o.Dir, "log", old.Name(), "error", err)
	}
	return nil, nil
}

// use goes on in a file that was begun; reserve is to be called before the next write.
func (f *flusher) use(file *logfile.File) {
	f.file, f.began, f.since = file, f.stat.logged.Load(), time.Now()
	f.marked = file.Size() == frame.HeaderSize
	f.stat.countLogs(f.o)
	f.room.at = time.Now() // there may be room for what is held
}

// end leaves the log complete: an empty file follows the last one, and says where that ends.
func (f *flusher) end() error {
	if err := f.sync(); err != nil {
		return err
	}
	if f.file.Size() > frame.HeaderSize {
		err, fatal := f.rotate()
		if err == nil || fatal != nil {
			return fatal
		}
		if !f.marked {
			if err := f.mark(); err != nil {
				return err
			}
		}
		if err := f.sync(); err != nil {
			return err
		}
	}
	if err := f.file.Trim(); err != nil {
		f.o.Logger.Warn("the log can't be cut to its length", "dir", f.o.Dir, "log", f.file.Name(), "error", err)
	}
	return nil
}

// close ends the log in order, as far as it can.
func (f *flusher) close(w work) {
	_, full := f.q.state()
	switch {
	case f.held != nil && w.batch.writes > 0:
		f.q.fail(w, full, true)
	case f.file != nil:
		if err := f.end(); err != nil {
			f.fail(w, err)
			return
		}
		fallthrough
	default:
		f.q.fail(w, fmt.Errorf("%w: the log is closed", store.ErrReadOnly), false)
	}
}

// fail ends all writing: W6.
func (f *flusher) fail(w work, cause error) {
	err := fmt.Errorf("%w: %w", store.ErrReadOnly, cause)
	f.q.fail(w, err, true)
	if f.o.Failed != nil {
		f.o.Failed(err)
	} else {
		f.o.Logger.Error("the log failed: no more writes until a restart", "dir", f.o.Dir, "error", cause)
	}
}

// tell logs that writes are refused for want of room, and that they are not any more.
func (f *flusher) tell() {
	_, full := f.q.state()
	switch {
	case full != nil && f.toldFull.IsZero():
		f.toldFull = time.Now()
		f.o.Logger.Error("writes are refused until there is room on the disk", "dir", f.o.Dir, "error", full)
	case full == nil && !f.toldFull.IsZero():
		f.o.Logger.Info("there is room on the disk again: writes go on",
			"dir", f.o.Dir, "after", time.Since(f.toldFull).Round(time.Millisecond).String())
		f.toldFull = time.Time{}
	}
}
