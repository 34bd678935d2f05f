package tool

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// Repair makes a damaged folder one that a store can start from, with all in it that can be read. Each file that it
// replaces is kept as <name>.damaged-<number>. A damaged snapshot that the files before it do without, as they are
// still there, is only given such a name. Writes in the stretches that can't be read are lost; those behind them are
// not, and each that is there is there whole. The report says what was wrong. A torn tail is left to the next start.
func Repair(fs vfs.FS, dir string) (Report, error) {
	lock, _, err := folder.Lock(fs, dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	x, err := inspect(fs, dir)
	if err != nil {
		return Report{}, err
	}
	if !x.report.Damaged() {
		return x.report, nil
	}
	// The snapshot last: with it, the folder is one that starts.
	for _, g := range x.logs {
		if g.missing || g.badHead || len(g.bad) > 0 {
			if err := x.rewrite(g, x.repairLog); err != nil {
				return x.report, err
			}
		}
	}
	if g := x.snapshot; g != nil && g.damaged() {
		if err := x.rewrite(g, x.repairSnapshot); err != nil {
			return x.report, err
		}
	}
	for _, name := range x.aside {
		if err := x.setAside(name); err != nil {
			return x.report, err
		}
	}
	return x.report, nil
}

// setAside gives the file the name of a copy.
func (x *inspection) setAside(name string) error {
	kept, err := x.free(name)
	if err != nil {
		return err
	}
	if err := x.fs.Rename(filepath.Join(x.dir, name), filepath.Join(x.dir, kept)); err != nil {
		return err
	}
	x.kept(name, kept)
	return x.fs.SyncDir(x.dir)
}

// kept notes in the report what the copy of a file is called.
func (x *inspection) kept(name, kept string) {
	for i := range x.report.Problems {
		if p := &x.report.Problems[i]; p.File == name && !p.Torn {
			p.Kept = kept
		}
	}
}

// rewrite keeps a copy of g, writes what is to be in its place, and puts it there.
func (x *inspection) rewrite(g *inspected, write func(*inspected, *frame.Reader, io.Writer) error) error {
	path := filepath.Join(x.dir, g.name)
	kept := ""
	var fr *frame.Reader
	if !g.missing {
		var err error
		if kept, err = x.keep(g); err != nil {
			return err
		}
		if fr, err = x.reader(g); err != nil {
			return err
		}
		defer fr.F.Close()
	}
	f, err := x.fs.Create(path + folder.TmpSuffix)
	if err != nil {
		return err
	}
	if err = write(g, fr, io.NewOffsetWriter(f, 0)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("repair %s: %w", path, err), x.fs.Remove(path+folder.TmpSuffix))
	}
	if err := x.fs.Rename(path+folder.TmpSuffix, path); err != nil {
		return err
	}
	x.kept(g.name, kept)
	return x.fs.SyncDir(x.dir)
}

// keep copies g to a name that is free.
func (x *inspection) keep(g *inspected) (string, error) {
	kept, err := x.free(g.name)
	if err != nil {
		return "", err
	}
	return kept, folder.CopyRange(x.fs, filepath.Join(x.dir, g.name), filepath.Join(x.dir, kept), 0, g.size)
}

// free returns a name for a copy of the file that no other has.
func (x *inspection) free(file string) (string, error) {
	names, err := x.fs.List(x.dir)
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, name := range names {
		taken[name] = true
	}
	kept := ""
	for n := 1; kept == "" || taken[kept]; n++ {
		kept = fmt.Sprintf("%s.damaged-%d", file, n)
	}
	return kept, nil
}

// repairLog writes the log with a mark, which is no write, in the place of each bad stretch: so that positions stay.
func (x *inspection) repairLog(g *inspected, fr *frame.Reader, f io.Writer) error {
	enc := frame.NewEncoder(g.h)
	enc.Header(g.h)
	good, bad := g.good, g.bad
	for len(good) > 0 || len(bad) > 0 {
		if len(bad) == 0 || len(good) > 0 && good[0].from < bad[0].from {
			for fr.Off = good[0].from; fr.Off < good[0].to; {
				body, err := fr.Next()
				if err != nil {
					return err
				}
				enc.Frame(body)
				if enc.Len() >= frame.WriteChunk {
					if err := enc.Flush(f); err != nil {
						return err
					}
				}
			}
			good = good[1:]
			continue
		}
		n := bad[0].to - bad[0].from - frame.Overhead
		if n < frame.RecordHead {
			return fmt.Errorf("the %d bytes at offset %d are too few for a record", bad[0].to-bad[0].from, bad[0].from)
		}
		enc.Frame(make([]byte, n))
		bad = bad[1:]
	}
	if err := enc.Flush(f); err != nil {
		return err
	}
	if g.end < g.size { // the torn tail, or what the next log has too
		return folder.CopyInto(f, fr.F, g.end, g.size)
	}
	return nil
}

// repairSnapshot writes the snapshot without what is bad.
func (x *inspection) repairSnapshot(g *inspected, fr *frame.Reader, f io.Writer) error {
	w := record.NewSnapshotWriter(f, g.h)
	for _, s := range g.good {
		for fr.Off = s.from; fr.Off < s.to; {
			body, err := fr.Next()
			if err != nil {
				return err
			}
			if body[0] == record.KindTrailer {
				continue
			}
			entries := uint64(0)
			var e record.Entry
			for b := body[1:]; len(b) > 0; entries++ {
				_, b, _ = record.ParseVersioned(b, &e)
			}
			if err := w.AddBlock(body, entries); err != nil {
				return err
			}
		}
	}
	return w.Finish(record.Point{Version: g.newest})
}
