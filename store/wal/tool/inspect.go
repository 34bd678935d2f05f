package tool

import (
	"errors"
	"fmt"
	"io"
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

// inspected is a file as it is and as it should be.
type inspected struct {
	name    string
	missing bool
	h       frame.Header // of the file, or what it must have been
	badHead bool         // the file has another, or none
	empty   bool         // of a log: it has nothing behind its header
	size    int64
	end     int64 // how many bytes the file should have; a log may have more, which are ignored
	good    []span
	bad     []span         // in order, up to end
	trailer record.Trailer // of a snapshot
	whole   bool           // of a snapshot: it ends with its trailer
	newest  uint64
	proven  int64 // of a log: offset up to which its records say that it was synced
}

// span is a stretch of a file.
type span struct {
	from, to int64
	odd      bool // of a bad one: the checksum is right, so it was not torn
}

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

// folder inspects what d says is there. It returns true if the newest snapshot is better set aside, and has taken it out of d.
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

// damaged reports whether a snapshot is not what was written.
func (g *inspected) damaged() bool { return g.missing || g.badHead || len(g.bad) > 0 || !g.whole }

// doWithout takes the newest snapshot, which is damaged and by which p was made, out of d and returns true, if the
// files before it are still there: all that say the same, or, where nothing of the snapshot can be read, any.
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

// walk goes through the frames of g up to g.end, and files away what is good and what is bad. valid says whether a frame's
// body is one; plausible whether it may be, from its first peek bytes.
func (g *inspected) walk(fr *frame.Reader, peek int, plausible func(off int64, body []byte) bool, valid func(off int64, body []byte) bool) error {
	fr.End = min(fr.End, g.end)
	for fr.Off < fr.End {
		off := fr.Off
		body, err := fr.Next()
		if err == nil && valid(off, body) {
			if n := len(g.good); n > 0 && g.good[n-1].to == off {
				g.good[n-1].to = fr.Off
			} else {
				g.good = append(g.good, span{from: off, to: fr.Off})
			}
			continue
		}
		if err != nil && err != frame.ErrBad {
			return err
		}
		next, err2 := fr.Find(off+1, peek, plausible)
		if err2 != nil {
			return err2
		}
		if n := len(g.bad); n > 0 && g.bad[n-1].to == off {
			g.bad[n-1].to = next
		} else {
			g.bad = append(g.bad, span{off, next, err == nil})
		}
		fr.Off = next
	}
	return nil
}

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
		x.problem(g.name, g.end, 0, fmt.Sprintf("the snapshot has %d blocks with %d entries, and was written with %d and %d", rep.Records, rep.Entries, g.trailer.Blocks, g.trailer.Entries))
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

// logFrames inspects the i-th log.
func (x *inspection) logFrames(i int, g *inspected) error {
	rep := FileReport{Name: g.name, Bytes: g.size}
	order := uint64(0)
	bases := []int64{0} // where it may begin
	switch {
	case i > 0:
		before := x.logs[i-1]
		order = before.newest
		bases = []int64{before.h.Base + before.end, before.h.Base + before.proven}
	case x.snapshot != nil && !x.snapshot.badHead:
		bases = []int64{x.snapshot.h.Base}
	}
	// The last log, or the one before an empty one: that only says where this one was once to end.
	last := i+1 == len(x.logs)
	beforeEmpty := i+2 == len(x.logs) && !x.logs[i+1].badHead && x.logs[i+1].empty
	if g.badHead {
		g.h.ID, g.h.Base = x.id, bases[0]
		if !g.missing {
			x.problem(g.name, 0, min(g.size, frame.HeaderSize), "the header is not valid")
			if err := x.guessBase(g, bases); err != nil {
				return err
			}
		}
	} else if i == 0 && g.h.Base != bases[0] {
		x.problem(g.name, 0, frame.HeaderSize, fmt.Sprintf("the log begins at position %d, not at %d", g.h.Base, bases[0]))
		if s := x.snapshot; s != nil && (s.missing || s.badHead) {
			s.h.Base = g.h.Base
		} else {
			g.badHead, g.h.Base = true, bases[0]
		}
	}
	g.end = g.size
	if !last && !x.logs[i+1].badHead {
		g.end = x.logs[i+1].h.Base - g.h.Base
		if g.end < frame.HeaderSize { // of two headers that contradict each other the later one gives way
			x.logs[i+1].badHead = true
			g.end = g.size
			beforeEmpty = false
		}
	}
	g.end = max(g.end, frame.HeaderSize)
	if beforeEmpty {
		last, g.proven = true, g.end
		g.end = max(g.end, g.size)
	}
	if !g.missing {
		fr, err := x.reader(g)
		if err != nil {
			return err
		}
		defer fr.F.Close()
		plausible := func(off int64, body []byte) bool {
			version, synced, _ := frame.ParseRecord(body)
			return (version == 0 || version > order) && synced <= g.h.Base+off
		}
		err = g.walk(fr, frame.RecordHead, plausible, func(off int64, body []byte) bool {
			n, ok := record.Count(body)
			if !ok || !plausible(off, body) {
				return false
			}
			version, synced, _ := frame.ParseRecord(body)
			g.proven = max(g.proven, synced-g.h.Base)
			if version != 0 {
				order = version
				rep.see(version)
				rep.Records++
				rep.Entries += n
			}
			return true
		})
		if err == nil && last {
			err = g.trim(fr)
		}
		if err != nil {
			return err
		}
	}
	if have := max(g.size, frame.HeaderSize); have < g.end {
		if n := len(g.bad); n > 0 && g.bad[n-1].to == have {
			g.bad[n-1].to = g.end
		} else {
			g.bad = append(g.bad, span{from: have, to: g.end})
		}
	}
	// Behind what is proven, the first bad record of the last log is where it was torn.
	if last {
		for k, b := range g.bad {
			if b.from >= g.proven && !b.odd {
				x.report.Problems = append(x.report.Problems, Problem{File: g.name, Offset: b.from, Bytes: g.end - b.from, Torn: true, Detail: "no valid record"})
				g.bad, g.end = g.bad[:k], b.from
				break
			}
		}
	}
	for _, b := range g.bad {
		if !g.missing {
			x.problem(g.name, b.from, max(0, min(b.to, g.size)-b.from), "no valid record")
		}
	}
	g.newest = order
	if !g.missing {
		x.report.Version = max(x.report.Version, order)
		x.report.Files = append(x.report.Files, rep)
	}
	return nil
}

// trim leaves the zeros at the end of the last log, which was walked, out: they are room that was reserved.
func (g *inspected) trim(fr *frame.Reader) error {
	n := len(g.bad) - 1
	if n < 0 || g.bad[n].to != g.end || g.bad[n].odd {
		return nil
	}
	used, err := fr.Used(g.bad[n].from)
	if err != nil {
		return err
	}
	used = max(used, g.proven) // up to there they are no room
	g.end, g.bad[n].to = used, used
	if g.bad[n].from >= used {
		g.bad = g.bad[:n]
	}
	return nil
}

// guessBase sets g.h.Base to the one with which the first record is valid.
func (x *inspection) guessBase(g *inspected, bases []int64) error {
	for _, base := range bases {
		g.h.Base = base
		fr, err := x.reader(g)
		if err != nil {
			return err
		}
		_, err = fr.Next()
		fr.F.Close()
		if err == nil {
			return nil
		}
		if err != frame.ErrBad && err != io.EOF {
			return err
		}
	}
	g.h.Base = bases[0]
	return nil
}
