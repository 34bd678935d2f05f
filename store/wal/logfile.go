package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"

	"kv/store/vfs"
)

// logFile is a file of the log that is being written. One goroutine owns it.
//
// Its end is size, whatever the file system has behind that: room that was made in advance, or the part of a write that did
// not fit. A write begins there, so one that fails changes nothing that counts, and can be tried again.
type logFile struct {
	h    header // fixed
	path string // fixed
	name string // fixed
	f    vfs.File
	enc  encoder

	size   int64 // the bytes that count
	synced int64 // the position up to which the log is on disk
	marked bool  // nothing was synced since the last mark, so the file says how far it was

	ahead  int64 // fixed: how much room there is to be behind size; below 0: none is made
	zeros  int64 // fixed: how much of that is to be zeros that were written; 0: none
	room   int64 // the offset up to which the file has room for certain; size or less: nowhere
	zeroed int64 // the offset up to which zeros were written behind size
	short  error // why there is less room than there is to be; nil: there is enough, or nobody can tell
	blind  bool  // the file system can't tell whether there is room
	tail   bool  // the file may have something behind size
}

const (
	markSize  = frameHeader + recordHeader
	leastRoom = 1 << 10   // less is not looked for
	mostZeros = 256 << 10 // that are written at a time
)

// createLog makes the file of a log. It has its name only once it is on disk, with what first has put in it; nil: nothing.
func createLog(o Options, h header, first func(f *logFile) error) (_ *logFile, err error) {
	f := &logFile{h: h, name: logName(h.seq), synced: h.base, ahead: o.ReserveBytes}
	if o.Sync == Always {
		f.zeros = min(mostZeros, max(0, f.ahead/4))
	} else {
		f.ahead *= 4 // nobody waits for the writes, so more of them come before the next look
	}
	f.path = filepath.Join(o.Dir, f.name)
	defer func() {
		if err != nil {
			err = fmt.Errorf("begin log %s: %w", f.path, err)
		}
	}()
	if f.f, err = o.FS.Create(f.path + tmpSuffix); err != nil {
		return nil, err
	}
	err = func() error {
		f.enc.seed = h.seed()
		f.enc.buf, f.enc.n = h.append(nil), headerSize
		if first != nil {
			if err := first(f); err != nil {
				return err
			}
		}
		if err := f.writeOut(); err != nil {
			return err
		}
		return f.f.Sync()
	}()
	if err != nil {
		o.FS.Remove(f.path + tmpSuffix) // the next start removes it, if this does not
	} else if err = o.FS.Rename(f.path+tmpSuffix, f.path); err == nil {
		err = o.FS.SyncDir(o.Dir)
	}
	if err != nil {
		f.f.Close()
		return nil, err
	}
	f.synced = f.end()
	f.marked = f.size == headerSize
	return f, nil
}

// end returns the position of the file's end.
func (f *logFile) end() int64 { return f.h.base + f.size }

// Write appends p. Part of writing what the encoder has.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.f.WriteAt(p, f.size)
	f.size += int64(n)
	return n, err
}

// writeOut appends what was encoded.
func (f *logFile) writeOut() error { return f.enc.writeTo(f) }

// whole does what write does, or nothing: where that fails, the end is again where it was.
func (f *logFile) whole(write func() error) error {
	end := f.size
	if err := write(); err != nil {
		f.enc.reset()
		f.size, f.tail = end, true
		return f.error(err)
	}
	return nil
}

// write appends b.
func (f *logFile) write(b *batch) error {
	return f.whole(func() error {
		for _, p := range b.pieces {
			if p.records != nil {
				seal(p.records, f.synced, f.enc.seed)
				if err := writeAll(f, p.records); err != nil {
					return err
				}
				continue
			}
			f.enc.record(p.large.version, f.synced, p.large.entries)
			if err := f.writeOut(); err != nil {
				return err
			}
		}
		f.marked = false
		return nil
	})
}

// mark appends how far the log is synced.
func (f *logFile) mark() error {
	return f.whole(func() error {
		f.enc.record(0, f.synced, nil)
		if err := f.writeOut(); err != nil {
			return err
		}
		f.marked = true
		return nil
	})
}

// sync makes durable what was written. After an error it proves nothing any more, whatever it returns then.
func (f *logFile) sync() error {
	if f.synced == f.end() {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return f.error(err)
	}
	f.synced = f.end()
	return nil
}

// reserve sees to it that there is room for the next n bytes, and for what comes behind them, before it is needed. Where the
// disk, a quota or a limit grants less, the file takes all that there is, and short says why it is not more. With again that is
// looked at even if it is known not to be enough.
//
// Under policy Always a part of the room is zeros that were written: a sync that has no new length to make durable takes little
// more than half the time. A large batch is not worth it, since its bytes would be written twice.
func (f *logFile) reserve(n int64, again bool) {
	if f.ahead < 0 {
		return
	}
	if !f.blind {
		f.allocate(n, again)
	}
	if n > f.zeros/8 || f.size+n <= f.zeroed {
		return
	}
	to := f.size + n + f.zeros
	if !f.blind {
		to = min(to, f.room)
	}
	if from := max(f.size, f.zeroed); from < to {
		f.tail = true
		if f.f.Zero(from, to) == nil { // an error that matters is one of the write or the sync too
			f.zeroed = to
		}
	}
}

func (f *logFile) allocate(n int64, again bool) {
	enough := f.size + n + f.ahead/4 // not to ask each time
	if f.short != nil {
		enough = f.size + n
		if again {
			enough += f.ahead
		}
	}
	if f.room >= enough {
		if again {
			f.short = nil
		}
		return
	}
	f.short = nil
	at, to := max(f.size, f.room), f.size+n+f.ahead
	for step := to - at; step >= leastRoom; {
		f.tail = true
		err := f.f.Allocate(at, at+step)
		switch {
		case err == nil:
			at += step
			f.room = at
			if step = min(step, to-at); step == 0 {
				f.short = nil // there was some after all
			}
		case noRoom(err):
			if f.short == nil {
				f.short = f.error(err)
			}
			step /= 2
		default: // an error that matters is one of the write or the sync too
			f.blind, f.short = true, nil
			return
		}
	}
}

// grant returns how many bytes of records the file is certain to have room for, short of the disk's failing, as far as it can tell.
func (f *logFile) grant() int64 {
	if f.blind || f.ahead < 0 {
		return math.MaxInt64
	}
	return max(0, f.room-f.size-markSize)
}

// trim takes back what is behind the end. That it stays there, be it for a crash, is no harm: zeros mean nothing, and the next
// file's base says where this one ends.
func (f *logFile) trim() error {
	if !f.tail {
		return nil
	}
	if err := f.f.Truncate(f.size); err != nil {
		return f.error(err)
	}
	f.room, f.zeroed, f.tail = 0, 0, false
	return nil
}

// error says which log err is about. The file system knows it by the name that it was made with.
func (f *logFile) error(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return fmt.Errorf("log %s: %w", f.path, err)
}

// noRoom reports whether err, of a call that writes, says that there is no room: the disk is full, or a quota or the limit to
// a file's size is reached. That may pass. Of a sync it would mean that something was lost, and nothing less than any other.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
