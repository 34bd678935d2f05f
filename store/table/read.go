package table

import (
	"math/bits"
	"unsafe"

	"kv/store/arena"
	"kv/store/epoch"
)

// Reader is one goroutine's access to a table, without locks. Between Pin and Unpin what it returns may be looked at.
type Reader struct {
	table *Table
	cell  *epoch.Cell
	// seen is the highest version of what was read or found absent since it was last taken.
	seen uint64
	// Other says what Live returns where it has found an entry that is not plain, or none (the zero value). It is set before
	// the first Live.
	Other func(key []byte, e Entry) Entry
}

// Reader returns a new reader, called owner in reports about who stays pinned. Close it when it is no longer used.
func (t *Table) Reader(owner string) *Reader {
	return &Reader{table: t, cell: t.epochs.Cell(owner)}
}

// Close ends the reader, which is not pinned. To use it afterwards panics: its cell may be another reader's by then.
func (r *Reader) Close() {
	r.table.epochs.Return(r.cell)
	r.cell = nil
}

// Pin and Unpin are those of [epoch.Cell].
func (r *Reader) Pin() { r.cell.Pin() }

// Unpin ends what Pin began.
func (r *Reader) Unpin() { r.cell.Unpin() }

// Seen returns the highest version that the reader has seen since the last call: of an entry that it found or, for a key that it
// did not find, of the last deletion that may have been the key's.
func (r *Reader) Seen() uint64 {
	v := r.seen
	r.seen = 0
	return v
}

func (r *Reader) see(version uint64) {
	if version > r.seen {
		r.seen = version
	}
}

// Get returns the entry of key; deletions that are kept are entries too. The reader is pinned.
func (r *Reader) Get(key []byte) Entry {
	t := r.table
	h := t.hash(key)
	l := t.line(h)
	m := l.fits(tagOf(h))
	if m == 0 {
		return r.getLast(l, h, key)
	}
	i := bits.TrailingZeros64(m) >> 3
	ref := arena.Ref(l.ref(i).Load())
	if ref <= refMoved {
		return r.search(h, key)
	}
	p := t.at(ref)
	return r.getOther(p, headerAt(p), l, i, h, key)
}

// Live is Get, except that it returns what Other makes of an entry that is not plain, or of none. The reader is pinned.
func (r *Reader) Live(key []byte) Entry {
	// The body is Get for nearly every lookup there is: of a plain entry, with a key of 8 to 16 bytes, that is the first with
	// the key's tag. The fewer instructions a lookup takes, the more of them the processor overlaps. So every other case is
	// a call that the function ends with: nothing has to be kept for after it.
	n := len(key)
	if uint(n-8) > 8 {
		return r.live(key, r.Get(key))
	}
	t := r.table
	h := t.hasher.short(unsafe.Pointer(unsafe.SliceData(key)), n)
	l := lineIn(t.word(h), t, h)
	m := l.fits(tagOf(h))
	if m == 0 {
		return r.live(key, r.getLast(l, h, key))
	}
	i := bits.TrailingZeros64(m) >> 3
	ref := arena.Ref(l.ref(i).Load())
	if ref <= refMoved {
		return r.live(key, r.search(h, key))
	}
	p := t.at(ref)
	header := headerAt(p)
	if header&lowMask != uint64(n+plainKey) || !equalShort(unsafe.Add(p, plainKey), key) {
		return r.live(key, r.getOther(p, header, l, i, h, key))
	}
	r.see(header >> versionShift)
	if t.marks {
		l.mark(i)
	}
	return t.entryAt(p)
}

// live returns what Live makes of what Get found.
func (r *Reader) live(key []byte, e Entry) Entry {
	if e.Exists() && e.Plain() {
		return e
	}
	return r.Other(key, e)
}

// getLast is Get where none of the line's first eight places has the tag.
func (r *Reader) getLast(l line, h uint64, key []byte) Entry {
	if m := l.fitsLast(tagOf(h)); m != 0 {
		i := 8 + bits.TrailingZeros64(m)>>3
		if ref := arena.Ref(l.ref(i).Load()); ref > refMoved {
			p := r.table.at(ref)
			return r.getOther(p, headerAt(p), l, i, h, key)
		}
	}
	return r.search(h, key)
}

// getOther is Get where place i of the line, which has the tag, leads to the object p with this header: an entry of any
// kind, of this key or another, or no entry.
func (r *Reader) getOther(p unsafe.Pointer, header uint64, l line, i int, h uint64, key []byte) Entry {
	if !holds(p, header, key) {
		return r.search(h, key)
	}
	r.see(header >> versionShift)
	if r.table.marks {
		l.mark(i)
	}
	return r.table.entryAt(p)
}

// holds reports whether the object p, which has this header, is an entry of key. A switch or an overflow line is not.
func holds(p unsafe.Pointer, header uint64, key []byte) bool {
	if isPlain(header, key) {
		return equal(unsafe.Add(p, plainKey), key)
	}
	if isExpiring(header) {
		return int(*u32(p, 12)) == len(key) && equal(unsafe.Add(p, expiringKey), key)
	}
	return isLong(header) && Entry{h: (*head)(p)}.is(key)
}

// search is Get for every case: it looks at all places with the tag, switches and overflow lines.
func (r *Reader) search(h uint64, key []byte) Entry {
	e, seen, _ := r.table.find(h, key)
	r.see(seen)
	return e
}

// find looks a key up. seen is the version that has to be durable before anybody is told the result. If there is no entry,
// absent is a number that stays the same only while the key stays absent.
//
// It starts again if the segment has grown meanwhile, which happens to a key a few dozen times in a table's life.
func (t *Table) find(h uint64, key []byte) (e Entry, seen, absent uint64) {
	for {
		e, seen, absent, moved := t.findIn(t.line(h), h, key)
		if !moved {
			return e, seen, absent
		}
	}
}

// findIn is find in a line that the key's hash led to, perhaps long ago. moved says that the line was replaced since, so
// that the lookup has to start again from the root.
func (t *Table) findIn(first line, h uint64, key []byte) (e Entry, seen, absent uint64, moved bool) {
	for l := first; ; {
		last := arena.Ref(0)
		for m := l.matches(tagOf(h)); m != 0; m &= m - 1 {
			i := bits.TrailingZeros16(m)
			ref := arena.Ref(l.ref(i).Load())
			if ref == refMoved {
				return Entry{}, 0, 0, true
			}
			if i == lastPlace {
				last = ref
			}
			if ref == 0 {
				continue
			}
			e, version := t.resolve(ref)
			seen = max(seen, version)
			if e.Exists() && e.is(key) {
				if t.marks {
					l.mark(i)
				}
				return e, max(e.Version(), version), 0, false
			}
		}
		if last == 0 {
			last = arena.Ref(l.ref(lastPlace).Load())
		}
		if last == refMoved {
			return Entry{}, 0, 0, true
		}
		next, more := t.overflow(last)
		if !more {
			break
		}
		l = next
	}
	deleted := first.removal()
	return Entry{}, max(seen, deleted), deleted, false
}

// resolve returns the entry that a reference above refMoved means at this moment: the entry that it leads to, or the one
// that a switch means. If a committed switch means that the key is absent, version is its transaction's.
func (t *Table) resolve(ref arena.Ref) (e Entry, version uint64) {
	p := t.at(ref)
	switch kindAt(p) {
	case kindSwitch:
		s := (*switched)(p)
		x := (*txn)(t.at(s.txn))
		ref = s.old
		if x.committed.Load() != 0 {
			if ref = s.next; ref == 0 {
				return Entry{}, x.version
			}
		}
		if ref == 0 {
			return Entry{}, 0
		}
		return t.entry(ref), 0
	case kindLine:
		return Entry{}, 0
	}
	return t.entryAt(p), 0
}
