package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"kv/store/vfs"
)

// resume begins the log behind what was recovered. Where there is no room for that, nothing has changed, and it can be tried again.
func (l *Log) resume(r *recovery, p plan) (*logFile, error) {
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
	h := header{magicLog, r.id, r.seq + 1, r.base + r.proven}
	switch {
	case len(p.logs) == 0:
		return createLog(l.o, header{magicLog, newID(), 1, 0}, nil)
	case r.end == headerSize && r.torn == 0:
		h.seq, h.base = r.seq, r.base // the last one is empty: in its place
		return createLog(l.o, h, nil)
	}
	g, err := r.openLog(r.seq)
	if err != nil {
		return nil, err
	}
	defer g.f.Close()
	g.fr.off, g.fr.end = r.proven, r.end
	if _, err := g.fr.next(); err != nil && err != io.EOF {
		h.base = r.base + headerSize // no record begins there; this log did not write it so
	}
	return createLog(l.o, h, func(f *logFile) error {
		if r.torn > 0 { // an empty file would leave it to the next start to judge the tail again
			f.enc.record(0, h.base, nil)
		}
		return r.unproven(g.fr, h.base-r.base, &f.enc, f.writeOut)
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
	return name, copyRange(r.fs, filepath.Join(r.dir, r.name), filepath.Join(r.dir, name), r.end, r.end+r.torn)
}

// copyRange makes a file of the bytes from..to of another, durably: whole, or not at all.
func copyRange(fs vfs.FS, src, dst string, from, to int64) error {
	in, err := fs.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := src + tmpSuffix
	out, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	if err = copyInto(io.NewOffsetWriter(out, 0), in, from, to); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = fs.Rename(tmp, dst)
	}
	if err != nil {
		fs.Remove(tmp) // the next start removes it, if this does not
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return fs.SyncDir(filepath.Dir(dst))
}

func copyInto(w io.Writer, r io.ReaderAt, from, to int64) error {
	n, err := io.Copy(w, io.NewSectionReader(r, from, to-from))
	if err == nil && n < to-from {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// unproven adds the records that are valid but not proven to be on disk, those behind the offset from, to the log that is being begun.
func (r *recovery) unproven(fr *frames, from int64, enc *encoder, out func() error) error {
	fr.off = from
	for {
		body, err := fr.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return r.damage(r.name, fr.off, "a record that was valid is not any more")
		}
		if version, _, _ := parseRecord(body); version == 0 {
			continue
		}
		enc.frame(body)
		if enc.n >= writeChunk {
			if err := out(); err != nil {
				return err
			}
		}
	}
}
