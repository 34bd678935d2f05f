package logfile

import (
	"fmt"
	"io"
	"path/filepath"

	"kv/store/wal/folder"
	"kv/store/wal/frame"
)

// Resume begins the log behind what was read. What was read but not proven to be on disk is written to the new file
// again, whose base is the end of what is proven: after a sync that failed, the operating system shows bytes that are
// not on the disk, and a sync now would not write them. So a log may be longer than the base of the next one says; what
// is too much is ignored.
//
// Where there is no room for that, see NoRoom, nothing has changed, and it can be tried again.
func (r *Reader) Resume(o Options) (*File, error) {
	if r.zeros > 0 { // first, since there may be no other room
		if err := r.FS.Truncate(filepath.Join(r.Dir, r.name), r.end+r.Torn); err != nil {
			r.Logger.Warn("room that a log has and does not need can't be given back", "dir", r.Dir, "log", r.name, "bytes", r.zeros, "error", err)
		}
		r.zeros = 0
	}
	if r.Torn > 0 && r.Rescue == "" {
		name, err := r.saveTorn()
		if err != nil {
			return nil, err
		}
		r.Logger.Warn("a crash left the log with a torn tail, which nobody was promised: it was saved and cut off",
			"dir", r.Dir, "log", r.name, "offset", r.end, "bytes", r.Torn, "saved", name)
		r.Rescue = name
	}
	h := frame.Header{Magic: r.Magic, ID: r.ID, Seq: r.seq + 1, Base: r.base + r.proven}
	switch {
	case r.name == "":
		return Create(o, frame.Header{Magic: r.Magic, ID: folder.NewID(), Seq: 1}, nil)
	case r.end == frame.HeaderSize && r.Torn == 0:
		h.Seq, h.Base = r.seq, r.base // the last one is empty: in its place
		return Create(o, h, nil)
	}
	g, err := r.openLog(r.seq)
	if err != nil {
		return nil, err
	}
	defer g.f.Close()
	g.fr.Off, g.fr.End = r.proven, r.end
	if _, err := g.fr.Next(); err != nil && err != io.EOF {
		h.Base = r.base + frame.HeaderSize // no record begins there; this log did not write it so
	}
	return Create(o, h, func(f *File) error {
		if r.Torn > 0 { // an empty file would leave it to the next start to judge the tail again
			f.enc.Mark(h.Base)
		}
		return r.unproven(g.fr, h.Base-r.base, f)
	})
}

// saveTorn copies what follows the last valid record to a file of its own.
func (r *Reader) saveTorn() (string, error) {
	name := fmt.Sprintf("%s.torn-%x", r.name, r.end)
	return name, folder.CopyRange(r.FS, filepath.Join(r.Dir, r.name), filepath.Join(r.Dir, name), r.end, r.end+r.Torn)
}

// unproven adds the records that are valid but not proven to be on disk, those behind the offset from, to the log that
// is being begun.
func (r *Reader) unproven(fr *frame.Reader, from int64, f *File) error {
	fr.Off = from
	for {
		body, err := fr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return r.Damage(r.name, fr.Off, "a record that was valid is not any more")
		}
		if number, _, _ := frame.ParseRecord(body); number == 0 {
			continue
		}
		f.enc.Frame(body)
		if f.enc.Len() >= frame.WriteChunk {
			if err := f.WriteOut(); err != nil {
				return err
			}
		}
	}
}
