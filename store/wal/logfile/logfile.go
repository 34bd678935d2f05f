// Package logfile is a file of a log that is being written: it has its name only once it is on disk, has room for what
// comes before that comes, and a write that fails for want of room changes nothing. What its frames hold is its user's
// affair.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
)

// Options say where a file is and how much room it has in advance.
type Options struct {
	FS  vfs.FS
	Dir string
	// Ahead is how much room there is to be behind what was written; below 0: none is made.
	Ahead int64
	// Zeros is how much of that is to be zeros that were written: see File.Reserve. 0: none.
	Zeros int64
}

// File is a file of the log that is being written. One goroutine owns it.
//
// Its end is size, whatever the file system has behind that: room that was made in advance, or the part of a write that did
// not fit. A write begins there, so one that fails changes nothing that counts, and can be tried again.
type File struct {
	h    frame.Header // fixed
	path string       // fixed
	f    vfs.File
	enc  *frame.Encoder

	size   int64 // the bytes that count
	synced int64 // the position up to which the log is on disk

	ahead  int64 // fixed: see Options
	zeros  int64 // fixed: see Options
	room   int64 // the offset up to which the file has room for certain; size or less: nowhere
	zeroed int64 // the offset up to which zeros were written behind size
	short  error // why there is less room than there is to be; nil: there is enough, or nobody can tell
	blind  bool  // the file system can't tell whether there is room
	tail   bool  // the file may have something behind size
}

const leastRoom = 1 << 10 // less is not looked for

// Create makes the file of a log that has this header. It has its name only once it is on disk, with what first has put
// in it; nil: nothing.
func Create(o Options, h frame.Header, first func(f *File) error) (_ *File, err error) {
	f := &File{h: h, path: filepath.Join(o.Dir, folder.LogName(h.Seq)), enc: frame.NewEncoder(h), synced: h.Base, ahead: o.Ahead, zeros: o.Zeros}
	defer func() {
		if err != nil {
			err = fmt.Errorf("begin log %s: %w", f.path, err)
		}
	}()
	if f.f, err = o.FS.Create(f.path + folder.TmpSuffix); err != nil {
		return nil, err
	}
	err = func() error {
		f.enc.Header(h)
		if first != nil {
			if err := first(f); err != nil {
				return err
			}
		}
		if err := f.WriteOut(); err != nil {
			return err
		}
		return f.f.Sync()
	}()
	if err != nil {
		o.FS.Remove(f.path + folder.TmpSuffix) // the next start removes it, if this does not
	} else if err = o.FS.Rename(f.path+folder.TmpSuffix, f.path); err == nil {
		err = o.FS.SyncDir(o.Dir)
	}
	if err != nil {
		f.f.Close()
		return nil, err
	}
	f.synced = f.End()
	return f, nil
}

// Header returns the file's header.
func (f *File) Header() frame.Header { return f.h }

// Name returns the file's name, without its folder.
func (f *File) Name() string { return filepath.Base(f.path) }

// Size returns how many bytes of the file count.
func (f *File) Size() int64 { return f.size }

// End returns the position of the file's end.
func (f *File) End() int64 { return f.h.Base + f.size }

// Synced returns the position up to which the log is on disk, for certain.
func (f *File) Synced() int64 { return f.synced }

// Short returns why there is less room in advance than there is to be; nil: there is enough, or nobody can tell.
func (f *File) Short() error { return f.short }

// Encoder returns the encoder of the file's frames. What it has is written by WriteOut.
func (f *File) Encoder() *frame.Encoder { return f.enc }

// Write appends p: whole frames, made for this file. It is called in Append only.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.WriteAt(p, f.size)
	f.size += int64(n)
	return n, err
}

// WriteOut appends what was encoded. It is called in Append, or by Create's first, only.
func (f *File) WriteOut() error { return f.enc.Flush(f) }

// Append does what write does, or nothing: where that fails, the end is again where it was. If the error is NoRoom, it
// may be tried again; after any other nobody knows what the disk has, and nothing more may be written.
func (f *File) Append(write func() error) error {
	end := f.size
	if err := write(); err != nil {
		f.enc.Reset()
		f.size, f.tail = end, true
		return f.error(err)
	}
	return nil
}

// Close closes the file. What was not synced may be lost.
func (f *File) Close() error { return f.f.Close() }

// Sync makes durable what was written. After an error it proves nothing any more, whatever it returns then.
func (f *File) Sync() error {
	if f.synced == f.End() {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return f.error(err)
	}
	f.synced = f.End()
	return nil
}

// Reserve sees to it that there is room for the next n bytes, and for what comes behind them, before it is needed. Where the
// disk, a quota or a limit grants less, the file takes all that there is, and Short says why it is not more. With again that is
// looked at even if it is known not to be enough.
//
// A part of the room may be zeros that were written: a sync that has no new length to make durable takes little
// more than half the time. A large batch is not worth it, since its bytes would be written twice.
func (f *File) Reserve(n int64, again bool) {
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

// Fit sees to it that there is room for n bytes, many more than there is to be room for in advance. The error says that
// there is not, see NoRoom; then nothing has changed.
func (f *File) Fit(n int64) error {
	to := f.size + n
	if f.ahead < 0 || f.blind || f.room >= to {
		return nil
	}
	at := max(f.size, f.room)
	f.tail = true
	err := f.f.Allocate(at, to)
	switch {
	case err == nil:
		f.room = to
	case NoRoom(err):
		// A part of it may have been granted, and is others' again.
		if back := max(at, f.zeroed); f.f.Truncate(back) != nil {
			f.zeroed = 0 // nobody knows what is there
		}
		return f.error(err)
	default: // an error that matters is one of the write or the sync too
		f.blind, f.short = true, nil
	}
	return nil
}

func (f *File) allocate(n int64, again bool) {
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
	at := max(f.size, f.room)
	to := max(f.size+n+f.ahead, at+leastRoom)
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
		case NoRoom(err):
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

// Grant returns how many bytes the file is certain to have room for, short of the disk's failing, as far as it can tell.
func (f *File) Grant() int64 {
	if f.blind || f.ahead < 0 {
		return math.MaxInt64
	}
	return max(0, f.room-f.size)
}

// Trim takes back what is behind the end. That it stays there, be it for a crash, is no harm: zeros mean nothing, and the next
// file's base says where this one ends.
func (f *File) Trim() error {
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
func (f *File) error(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return fmt.Errorf("log %s: %w", f.path, err)
}

// NoRoom reports whether err, of a call that writes, says that there is no room: the disk is full, or a quota or the limit to
// a file's size is reached. That may pass. Of a sync it would mean that something was lost, and nothing less than any other.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
