package logfile

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
)

// How a log is read back: its files in order, and what follows a bad record is judged.
//
// Of a file that another one follows, each byte up to where that one's base says it ended was on disk before the other
// one got its name (see Create). Of the last one, all is proven up to the largest synced position that any record in
// it, before or behind the bad one, states. But where the last one is empty, it only says where the one before it was
// once to end: that one is proven up to there, and is otherwise judged as the last. It is so after an orderly end,
// where nothing is behind that place, and where the next file was given up while it was begun, and the log went on. A
// bad record at a proven place is damage: an error, nothing is changed. At an unproven place it is where a crash tore
// the log: nothing from there on was ever promised to anyone, even if whole records follow, since a disk may write a
// later page before an earlier one. It is saved beside the log and given up. But where nothing follows but zeros, that
// is room that was reserved, and the log ends there.
//
// The last log is then ended, and a new one begun: see Resume.

// Reader reads the files of a log, and knows then where it goes on.
type Reader struct {
	FS     vfs.FS
	Dir    string
	Magic  string
	Logger *slog.Logger
	// Valid reports whether the body of a record, whose head is right, is whole. It is asked of what follows a bad one.
	Valid func(body []byte) bool
	// Apply is given each record, in order. body is valid until it returns. An error says what is wrong with the body.
	Apply func(number uint64, body []byte) error
	// Progress is told how many bytes were read; nil: nobody is.
	Progress func(n int64)

	ID     uint64 // of the store; 0: that of the first file that is opened
	Last   uint64 // the highest number that was read
	Count  int64  // records
	Bytes  int64  // of them all
	Torn   int64  // bytes of the torn tail, behind what is valid in the last file
	Rescue string // what the torn tail was saved as; empty: it was not yet

	// The file that was read last.
	name   string // empty: none was
	seq    uint64
	base   int64
	end    int64 // up to where it is valid; offsets are in the file
	proven int64 // up to where it is proven to have been on disk
	zeros  int64 // bytes behind the torn tail: room that was not used
}

// Damage returns the error of a file that is not what was written.
func (r *Reader) Damage(file string, off int64, detail string) error {
	return &folder.DamageError{Dir: r.Dir, File: file, Offset: off, Detail: detail}
}

// Read reads the logs with these sequences, which are consecutive. The first is to begin at position base.
func (r *Reader) Read(logs []uint64, base int64) error {
	var next *openLog
	for i, seq := range logs {
		cur := next
		next = nil
		var err error
		if cur == nil {
			if cur, err = r.openLog(seq); err != nil {
				return err
			}
			if cur.h.Base != base {
				cur.f.Close()
				return r.Damage(cur.name, 0, fmt.Sprintf("the log begins at position %d, not at %d", cur.h.Base, base))
			}
		}
		proven := int64(frame.HeaderSize)
		last := i+1 == len(logs)
		if !last {
			if next, err = r.openLog(logs[i+1]); err == nil && i+2 == len(logs) {
				last, err = next.empty()
				proven = next.h.Base - cur.h.Base
			}
		}
		switch {
		case err != nil:
		case !last:
			err = r.readSealed(cur, next.h.Base)
		default:
			err = r.readLast(cur, proven)
		}
		cur.f.Close()
		if err != nil {
			if next != nil {
				next.f.Close()
			}
			return err
		}
		if last {
			if next != nil {
				next.f.Close()
			}
			break
		}
	}
	return nil
}

// openLog is a log whose header was read.
type openLog struct {
	name string
	f    vfs.File
	fr   *frame.Reader
	h    frame.Header
}

// empty reports whether g has nothing behind its header, but for room that was reserved.
func (g *openLog) empty() (bool, error) {
	used, err := g.fr.Used(frame.HeaderSize)
	return used == frame.HeaderSize, err
}

func (r *Reader) openLog(seq uint64) (*openLog, error) {
	name := folder.LogName(seq)
	f, fr, h, err := r.Open(name, r.Magic, seq)
	if err != nil {
		return nil, err
	}
	return &openLog{name, f, fr, h}, nil
}

// Open opens a file of the folder and checks its header, which is to be of the same store as those that were opened before.
func (r *Reader) Open(name, magic string, seq uint64) (vfs.File, *frame.Reader, frame.Header, error) {
	f, err := r.FS.Open(filepath.Join(r.Dir, name))
	if err != nil {
		return nil, nil, frame.Header{}, err
	}
	fr, h, err := frame.Open(f, magic)
	switch {
	case err == nil && h.Seq != seq:
		err = r.Damage(name, 0, fmt.Sprintf("the header is that of sequence %x", h.Seq))
	case err == nil && r.ID != 0 && h.ID != r.ID:
		err = r.Damage(name, 0, "the file belongs to another store")
	case err == nil:
		r.ID = h.ID
		return f, fr, h, nil
	case frame.IsFinal(err):
		err = fmt.Errorf("%s: %w", filepath.Join(r.Dir, name), err)
	default:
		err = r.Damage(name, 0, err.Error())
	}
	f.Close()
	return nil, nil, h, err
}

// readSealed reads a log that another one follows, which begins at position next.
func (r *Reader) readSealed(g *openLog, next int64) error {
	end := next - g.h.Base
	if end < frame.HeaderSize || end > g.fr.End {
		return r.short(g, end)
	}
	g.fr.End = end
	err := r.records(g)
	if err == frame.ErrBad {
		return r.Damage(g.name, g.fr.Off, "no valid record, before the end of a log that was complete")
	}
	r.Bytes += end - frame.HeaderSize
	return err
}

// readLast reads the log that was being written, of which proven bytes are known to have been on disk, and judges what follows
// a bad record.
func (r *Reader) readLast(g *openLog, proven int64) error {
	if proven < frame.HeaderSize || proven > g.fr.End {
		return r.short(g, proven)
	}
	r.name, r.seq, r.base, r.proven = g.name, g.h.Seq, g.h.Base, proven
	err := r.records(g)
	if err != nil && err != frame.ErrBad {
		return err
	}
	r.end = g.fr.Off
	r.Bytes += r.end - frame.HeaderSize
	if r.end < proven {
		return r.Damage(r.name, r.end, fmt.Sprintf("no valid record, though the next log says that this one was on disk up to offset %d", proven))
	}
	if err == nil {
		return nil
	}
	used, err := g.fr.Used(r.end)
	if err != nil {
		return err
	}
	r.Torn, r.zeros = used-r.end, g.fr.End-used
	if r.Torn == 0 {
		return nil
	}
	return r.judge(g)
}

// short is the error of a log that has not the n bytes that the next one says it had.
func (r *Reader) short(g *openLog, n int64) error {
	return r.Damage(g.name, g.fr.End, fmt.Sprintf("the log has %d bytes, and had %d when the next one was begun", g.fr.End, n))
}

// judge decides whether the bad record at r.end is a torn tail, and returns an error if it is not.
func (r *Reader) judge(g *openLog) error {
	order := r.Last
	plausible := func(off int64, body []byte) bool {
		number, synced, _ := frame.ParseRecord(body)
		return (number == 0 || number > order) && synced <= r.base+off
	}
	for from := r.end + 1; ; {
		off, err := g.fr.Find(from, frame.RecordHead, plausible)
		if err != nil {
			return err
		}
		if off == g.fr.End {
			return nil
		}
		g.fr.Off = off
		body, err := g.fr.Next()
		if err != nil {
			return err
		}
		if !r.Valid(body) {
			from = off + 1
			continue
		}
		number, synced, _ := frame.ParseRecord(body)
		order = max(order, number)
		if synced > r.base+r.end {
			return r.Damage(r.name, r.end, fmt.Sprintf("no valid record, though the one at offset %d says that the log was on disk up to offset %d", off, synced-r.base))
		}
		from = g.fr.Off
	}
}

// records applies the records of g, up to its end or the first that is not valid: frame.ErrBad.
func (r *Reader) records(g *openLog) error {
	for {
		off := g.fr.Off
		body, err := g.fr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		number, synced, ok := frame.ParseRecord(body)
		switch {
		case !ok:
			return r.Damage(g.name, off, "the record is too short")
		case synced > g.h.Base+off:
			return r.Damage(g.name, off, fmt.Sprintf("the record says that the log was synced up to position %d", synced))
		case number != 0 && number <= r.Last:
			return r.Damage(g.name, off, fmt.Sprintf("record %d comes after record %d", number, r.Last))
		}
		if g.name == r.name {
			r.proven = max(r.proven, synced-r.base)
		}
		if r.Progress != nil {
			r.Progress(g.fr.Off - off)
		}
		if number == 0 {
			continue
		}
		r.Last = number
		r.Count++
		if err := r.Apply(number, body); err != nil {
			return r.Damage(g.name, off, err.Error())
		}
	}
}
