package tool

import (
	"fmt"
	"io"

	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// logFrames inspects the i-th log.
func (x *inspection) logFrames(i int, g *inspected) error {
	rep := FileReport{Name: g.name, Bytes: g.size}
	after := uint64(0) // the newest version before
	if i > 0 {
		after = x.logs[i-1].newest
	}
	if err := x.logBase(i, g); err != nil {
		return err
	}
	last := x.logEnd(i, g)
	g.newest = after
	if !g.missing {
		if err := x.logRecords(g, last, &rep); err != nil {
			return err
		}
	}
	if have := max(g.size, frame.HeaderSize); have < g.end {
		g.addBad(span{from: have, to: g.end})
	}
	if last {
		x.tear(g)
	}
	for _, b := range g.bad {
		if !g.missing {
			x.problem(g.name, b.from, max(0, min(b.to, g.size)-b.from), "no valid record")
		}
	}
	if !g.missing {
		x.report.Version = max(x.report.Version, g.newest)
		x.report.Files = append(x.report.Files, rep)
	}
	return nil
}

// logBase makes g.h what the header of the i-th log is, or, if it is bad, must have been.
func (x *inspection) logBase(i int, g *inspected) error {
	bases := []int64{0} // positions at which the log may begin
	switch {
	case i > 0:
		before := x.logs[i-1]
		bases = []int64{before.h.Base + before.end, before.h.Base + before.proven}
	case x.snapshot != nil && !x.snapshot.badHead:
		bases = []int64{x.snapshot.h.Base}
	}
	switch {
	case g.badHead:
		g.h.ID, g.h.Base = x.id, bases[0]
		if g.missing {
			return nil
		}
		x.problem(g.name, 0, min(g.size, frame.HeaderSize), "the header is not valid")
		return x.guessBase(g, bases)
	case i == 0 && g.h.Base != bases[0]:
		x.problem(g.name, 0, frame.HeaderSize, fmt.Sprintf("the log begins at position %d, not at %d", g.h.Base, bases[0]))
		if s := x.snapshot; s != nil && (s.missing || s.badHead) {
			s.h.Base = g.h.Base
		} else {
			g.badHead, g.h.Base = true, bases[0]
		}
	}
	return nil
}

// logEnd sets g.end of the i-th log: where the next one begins, or the file's end. It reports whether the log may be torn
// there: the last one may, and so may the one before a log without records, which only says where this one was to end.
func (x *inspection) logEnd(i int, g *inspected) (last bool) {
	last = i+1 == len(x.logs)
	beforeEmpty := i+2 == len(x.logs) && !x.logs[i+1].badHead && x.logs[i+1].empty
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
	return last
}

// logRecords walks the records of a log. It fills good, bad, proven and newest, which is that of the log before, and the
// counts of the report.
func (x *inspection) logRecords(g *inspected, last bool, rep *FileReport) error {
	fr, err := x.reader(g)
	if err != nil {
		return err
	}
	defer fr.F.Close()
	plausible := func(off int64, body []byte) bool {
		version, synced, _ := frame.ParseRecord(body)
		return (version == 0 || version > g.newest) && synced <= g.h.Base+off
	}
	err = g.walk(fr, frame.RecordHead, plausible, func(off int64, body []byte) bool {
		n, ok := record.Count(body)
		if !ok || !plausible(off, body) {
			return false
		}
		version, synced, _ := frame.ParseRecord(body)
		g.proven = max(g.proven, synced-g.h.Base)
		if version != 0 {
			g.newest = version
			rep.see(version)
			rep.Records++
			rep.Entries += n
		}
		return true
	})
	if err == nil && last {
		err = g.trim(fr)
	}
	return err
}

// tear cuts the last log where it was torn, if it was: at the first bad record behind what its records say was synced.
func (x *inspection) tear(g *inspected) {
	for k, b := range g.bad {
		if b.from >= g.proven && !b.odd {
			x.report.Problems = append(x.report.Problems,
				Problem{File: g.name, Offset: b.from, Bytes: g.end - b.from, Torn: true, Detail: "no valid record"})
			g.bad, g.end = g.bad[:k], b.from
			return
		}
	}
}

// guessBase sets g.h.Base to the first of bases with which the first record is valid, else to bases[0].
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
