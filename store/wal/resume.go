package wal

import (
	"fmt"
	"io"
	"path/filepath"

	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
	"kv/store/wal/record"
)

// resume begins the log behind what was recovered. Where there is no room for that, nothing has changed, and it can be tried again.
func (l *Log) resume(r *recovery, p folder.Plan) (*logfile.File, error) {
	if r.zeros > 0 { // first, since there may be no other room
		if err := l.o.FS.Truncate(filepath.Join(l.o.Dir, r.name), r.end+r.torn); err != nil {
			l.o.Logger.Warn("room that a log has and does not need can't be given back", "dir", l.o.Dir, "log", r.name, "bytes", r.zeros, "err", err)
		}
		r.zeros = 0
	}
	if r.torn > 0 && l.stat.torn.Load() == 0 {
		name, err := r.saveTorn()
		if err != nil {
			return nil, err
		}
		l.o.Logger.Warn("a crash left the log with a torn tail, which nobody was promised: it was saved and cut off",
			"dir", l.o.Dir, "log", r.name, "offset", r.end, "bytes", r.torn, "saved", name)
		l.stat.torn.Store(r.torn)
	}
	h := frame.Header{Magic: frame.MagicLog, ID: r.id, Seq: r.seq + 1, Base: r.base + r.proven}
	switch {
	case len(p.Logs) == 0:
		return logfile.Create(l.o.file(), frame.Header{Magic: frame.MagicLog, ID: folder.NewID(), Seq: 1, Base: 0}, nil)
	case r.end == frame.HeaderSize && r.torn == 0:
		h.Seq, h.Base = r.seq, r.base // the last one is empty: in its place
		return logfile.Create(l.o.file(), h, nil)
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
	return logfile.Create(l.o.file(), h, func(f *logfile.File) error {
		if r.torn > 0 { // an empty file would leave it to the next start to judge the tail again
			record.Encode(f.Encoder(), 0, h.Base, nil)
		}
		return r.unproven(g.fr, h.Base-r.base, f)
	})
}

// clear removes files that are no longer needed. That one stays is no harm: the next start tries again.
func (l *Log) clear(names []string) {
	for _, name := range names {
		if err := l.o.FS.Remove(filepath.Join(l.o.Dir, name)); err != nil {
			l.o.Logger.Warn("a file that is no longer needed can't be removed", "dir", l.o.Dir, "file", name, "err", err)
		}
	}
}

// saveTorn copies what follows the last valid record to a file of its own.
func (r *recovery) saveTorn() (string, error) {
	name := fmt.Sprintf("%s.torn-%x", r.name, r.end)
	return name, folder.CopyRange(r.fs, filepath.Join(r.dir, r.name), filepath.Join(r.dir, name), r.end, r.end+r.torn)
}

// unproven adds the records that are valid but not proven to be on disk, those behind the offset from, to the log that is being begun.
func (r *recovery) unproven(fr *frame.Reader, from int64, f *logfile.File) error {
	fr.Off = from
	for {
		body, err := fr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return r.damage(r.name, fr.Off, "a record that was valid is not any more")
		}
		if version, _, _ := record.Parse(body); version == 0 {
			continue
		}
		f.Encoder().Frame(body)
		if f.Encoder().Len() >= frame.WriteChunk {
			if err := f.WriteOut(); err != nil {
				return err
			}
		}
	}
}
