package tool

import (
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

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

// damaged reports whether a snapshot is not what was written.
func (g *inspected) damaged() bool { return g.missing || g.badHead || len(g.bad) > 0 || !g.whole }

// bodyTest looks at the body of the frame at an offset.
type bodyTest func(off int64, body []byte) bool

// walk goes through the frames of g up to g.end, and fills good and bad. valid reports whether a body with the right checksum
// is one of this file; plausible whether a body may be, by its first peek bytes, where walk looks for the next frame behind
// a bad one.
func (g *inspected) walk(fr *frame.Reader, peek int, plausible, valid bodyTest) error {
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
		g.addBad(span{off, next, err == nil})
		fr.Off = next
	}
	return nil
}

// addBad adds a stretch to bad, or lengthens the last one by it.
func (g *inspected) addBad(s span) {
	if n := len(g.bad); n > 0 && g.bad[n-1].to == s.from {
		g.bad[n-1].to = s.to
		return
	}
	g.bad = append(g.bad, s)
}

// trim takes the zeros at the end of the last log, which was walked, out of bad: they are room that was reserved.
func (g *inspected) trim(fr *frame.Reader) error {
	n := len(g.bad) - 1
	if n < 0 || g.bad[n].to != g.end || g.bad[n].odd {
		return nil
	}
	used, err := fr.Used(g.bad[n].from)
	if err != nil {
		return err
	}
	used = max(used, g.proven) // zeros before that were records
	g.end, g.bad[n].to = used, used
	if g.bad[n].from >= used {
		g.bad = g.bad[:n]
	}
	return nil
}
