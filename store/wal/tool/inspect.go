package tool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// inspection is what inspect finds.
type inspection struct {
	fs       vfs.FS
	dir      string
	id       uint64
	report   Report
	snapshot *inspected // nil: there is none, and none is missing
	logs     []*inspected
	aside    []string // snapshots that are damaged, and that the files before them do without
}

// inspect looks at every file of a data folder, and at every frame in them. It changes nothing.
func inspect(fs vfs.FS, dir string) (*inspection, error) {
	d, err := folder.Read(fs, dir)
	if err != nil {
		return nil, err
	}
	x := &inspection{fs: fs, dir: dir, report: Report{Dir: dir}}
	for again := true; again; {
		if again, err = x.folder(&d); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// folder inspects the files of d. If the newest snapshot is damaged and the files before it do without it, it takes the
// snapshot out of d and returns true: inspect begins again.
func (x *inspection) folder(d *folder.Folder) (again bool, err error) {
	missing := map[string]bool{}
	before := len(x.report.Problems)
	p, err := d.Plan(func(file string, off int64, detail string) error {
		missing[file] = true
		x.problem(file, off, 0, detail)
		return nil
	})
	if err != nil {
		return false, err
	}
	// Headers first: what is missing in one may be known from the others.
	if p.Snapshot == 0 && len(p.Logs) > 0 && missing[folder.SnapshotName(p.Logs[0])] {
		p.Snapshot = p.Logs[0]
	}
	if p.Snapshot != 0 {
		if x.snapshot, err = x.head(folder.SnapshotName(p.Snapshot), frame.MagicSnapshot, p.Snapshot, missing); err != nil {
			return false, err
		}
	}
	for _, seq := range p.Logs {
		g, err := x.head(folder.LogName(seq), frame.MagicLog, seq, missing)
		if err != nil {
			return false, err
		}
		x.logs = append(x.logs, g)
	}
	if s := x.snapshot; s != nil {
		if s.badHead {
			s.h.ID = x.id
			if len(x.logs) > 0 && !x.logs[0].badHead {
				s.h.Base = x.logs[0].h.Base
			}
		}
		if err := x.snapshotFrames(s); err != nil {
			return false, err
		}
		if s.damaged() && !s.missing && doWithout(d, s, p) {
			problems := slices.DeleteFunc(x.report.Problems[before:], func(p Problem) bool { return p.File != s.name })
			*x = inspection{fs: x.fs, dir: x.dir, aside: append(x.aside, s.name),
				report: Report{Dir: x.dir, Problems: append(x.report.Problems[:before], problems...)}}
			return true, nil
		}
	}
	for i, g := range x.logs {
		if err := x.logFrames(i, g); err != nil {
			return false, err
		}
	}
	return false, nil
}

// doWithout takes s, the newest snapshot, which is damaged, out of d and returns true, if the files before it can replace
// it: all of them are there, or nothing of s can be read anyway. p is the plan of d with s.
func doWithout(d *folder.Folder, s *inspected, p folder.Plan) bool {
	if len(p.Stale) == 0 {
		return false
	}
	older := *d
	older.Snapshots = d.Snapshots[:len(d.Snapshots)-1]
	complete := true
	_, err := older.Plan(func(string, int64, string) error { complete = false; return nil })
	if err != nil || !complete && len(s.good) > 0 {
		return false
	}
	*d = older
	return true
}

func (x *inspection) problem(file string, off, n int64, detail string) {
	x.report.Problems = append(x.report.Problems, Problem{File: file, Offset: off, Bytes: n, Detail: detail})
}

// head reads a file's header.
func (x *inspection) head(name, magic string, seq uint64, missing map[string]bool) (*inspected, error) {
	g := &inspected{name: name, h: frame.Header{Magic: magic, Seq: seq}, badHead: true, proven: frame.HeaderSize}
	if missing[name] {
		g.missing = true
		return g, nil
	}
	f, err := x.fs.Open(filepath.Join(x.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fr, h, err := frame.Open(f, magic)
	if err == nil && (h.Seq != seq || x.id != 0 && h.ID != x.id) {
		err = errors.New("the header is that of another file")
	}
	switch {
	case err == nil:
		g.h, g.badHead, g.size = h, false, fr.End
		x.id = h.ID
		used, err := fr.Used(frame.HeaderSize)
		g.empty = used == frame.HeaderSize
		return g, err
	case frame.IsFinal(err):
		return nil, fmt.Errorf("%s: %w", filepath.Join(x.dir, name), err)
	}
	if g.size, err = f.Size(); err != nil {
		return nil, err
	}
	return g, nil
}

// reader opens the frames of g, as its header is, or should be.
func (x *inspection) reader(g *inspected) (*frame.Reader, error) {
	f, err := x.fs.Open(filepath.Join(x.dir, g.name))
	if err != nil {
		return nil, err
	}
	return &frame.Reader{F: f, Seed: g.h.Seed(), End: g.size, Off: min(frame.HeaderSize, g.size), Ahead: frame.ReadChunk}, nil
}

// snapshotFrames inspects the frames of the snapshot.
func (x *inspection) snapshotFrames(g *inspected) error {
	rep := FileReport{Name: g.name, Bytes: g.size}
	if g.missing {
		return nil
	}
	if g.badHead {
		x.problem(g.name, 0, min(g.size, frame.HeaderSize), "the header is not valid")
	}
	fr, err := x.reader(g)
	if err != nil {
		return err
	}
	defer fr.F.Close()
	g.end = g.size
	plausible := func(_ int64, body []byte) bool { return body[0] >= record.KindBlock && body[0] <= record.KindTrailer }
	err = g.walk(fr, 1, plausible, func(off int64, body []byte) bool {
		if g.whole || len(body) == 0 {
			return false // behind the trailer
		}
		if body[0] == record.KindTrailer {
			g.trailer, g.whole = record.ParseTrailer(body)
			return g.whole
		}
		var n int64
		var e record.Entry
		for b := body[1:]; len(b) > 0; n++ {
			version, rest, ok := record.ParseVersioned(b, &e)
			if !ok {
				return false
			}
			rep.see(version)
			b = rest
		}
		rep.Records++
		rep.Entries += n
		return plausible(off, body)
	})
	if err != nil {
		return err
	}
	for _, b := range g.bad {
		x.problem(g.name, b.from, b.to-b.from, "no valid block")
	}
	switch {
	case len(g.bad) > 0:
	case !g.whole:
		x.problem(g.name, g.end, 0, "the snapshot ends without its trailer")
	case g.trailer.Blocks != uint64(rep.Records) || g.trailer.Entries != uint64(rep.Entries):
		x.problem(g.name, g.end, 0, fmt.Sprintf("the snapshot has %d blocks with %d entries, and was written with %d and %d",
			rep.Records, rep.Entries, g.trailer.Blocks, g.trailer.Entries))
		g.whole = false
	}
	g.newest = max(rep.Newest, g.trailer.Version)
	x.report.Version = max(x.report.Version, g.newest)
	x.report.Files = append(x.report.Files, rep)
	return nil
}

func (r *FileReport) see(version uint64) {
	if r.Oldest == 0 || version < r.Oldest {
		r.Oldest = version
	}
	r.Newest = max(r.Newest, version)
}
