package table

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
)

// batch is how many keys are looked up side by side: about as many cache misses as a core can have under way.
const batch = 16

// GetMany is Get of each key, in their order. It does each step for many keys at a time, so that their cache misses
// overlap. dst is as long as keys. The reader is pinned.
func (r *Reader) GetMany(dst []Entry, keys [][]byte) {
	for len(keys) > 0 {
		n := min(len(keys), batch)
		var b lookups
		b.begin(r.table, keys[:n])
		b.end(r, dst[:n], keys[:n])
		dst, keys = dst[n:], keys[n:]
	}
}

// Warm loads what lookups and writes of these keys will touch into the processor's caches, so that their misses overlap.
// It does not count as reading: see Seen. The reader is pinned.
func (r *Reader) Warm(keys [][]byte) {
	for some := range slices.Chunk(keys, batch) {
		var b lookups
		b.begin(r.table, some)
	}
}

// WarmAtOnce is the number of hashes that Shard.Warm works on at a time.
const WarmAtOnce = batch

// Warm is Reader.Warm of keys with these hashes, which are the shard's, for who has it locked.
func (sh *Shard) Warm(hashes []uint64) {
	t := sh.table
	for some := range slices.Chunk(hashes, batch) {
		var b lookups
		for i, h := range some {
			w := t.word(h)
			b.hashes[i], b.lines[i] = h, lineIn(w, t, h).from(t)
			atomic.LoadInt32(t.segment(w).count()) // a new key will change it
		}
		b.load(t, len(some))
		for i := range some { // a deletion will ask for the entry's size, which is in the arena's tables
			if r := b.refs[i]; r > refMoved {
				b.headers[i] = uint64(t.arena.SizeOf(r))
			}
		}
	}
}

// lookups are lookups of up to batch keys, side by side. There are no pointers in it, so the stores need no write barriers.
type lookups struct {
	hashes  [batch]uint64
	lines   [batch]uintptr   // the offset of the key's line from the table's base
	refs    [batch]arena.Ref // the first reference with the key's tag; 0 or refMoved if there is none
	headers [batch]uint64    // the header of the object that refs leads to
	places  [batch]uint8     // the place of refs in the line
}

// begin loads each key's reference and header, which is all that most lookups need. The instant of a lookup is the load of
// its reference, so the lookups are in the order of the keys.
func (b *lookups) begin(t *Table, keys [][]byte) {
	if len(keys) > batch {
		panic("table: too many lookups side by side")
	}
	for i, k := range keys {
		var h uint64
		if n := len(k); uint(n-8) <= 8 { // as in hash, which the compiler does not inline
			h = t.hasher.short(unsafe.Pointer(unsafe.SliceData(k)), n)
		} else {
			h = t.hash(k)
		}
		b.hashes[i], b.lines[i] = h, lineIn(t.word(h), t, h).from(t)
	}
	b.load(t, len(keys))
}

// load is begin of the first n lookups once their lines are known. Its loops are so short that the processor has the loads
// of all rounds under way before it waits for the first: of the lines, then of the objects.
func (b *lookups) load(t *Table, n int) {
	n = min(n, batch) // always n: it spares bounds checks
	for i := range n {
		b.line(t, i).tags().Load()
	}
	for i := range n {
		l, tag := b.line(t, i), tagOf(b.hashes[i])
		m, from := l.fits(tag), 0
		if m == 0 {
			m, from = l.fitsLast(tag), 8
		}
		if m != 0 {
			place := from + bits.TrailingZeros64(m)>>3
			b.refs[i], b.places[i] = arena.Ref(l.ref(place).Load()), uint8(place)
		} else if r := arena.Ref(l.ref(lastPlace).Load()); r > refMoved {
			headerAt(t.at(r)) // perhaps an overflow line, which search will look at
		}
	}
	for i := range n {
		if b.refs[i] > refMoved {
			b.headers[i] = headerAt(t.at(b.refs[i]))
		}
	}
}

// line returns the line of key i.
func (b *lookups) line(t *Table, i int) line { return line{unsafe.Add(t.base, b.lines[i])} }

// end finishes what begin began. Where that has not found the key's entry, search looks again, at a later instant than
// those of the keys behind it; so these are looked up again, too.
func (b *lookups) end(r *Reader, dst []Entry, keys [][]byte) {
	t := r.table
	keys = keys[:min(len(keys), batch)]
	dst = dst[:len(keys)]
	for i, k := range keys {
		p, header, n := t.at(b.refs[i]), b.headers[i], len(k)
		// Where there is no reference the header is 0, which no entry has.
		short := uint(n-8) <= 8 && header&lowMask == uint64(n+plainKey) && equalShort(unsafe.Add(p, plainKey), k)
		if !short && (b.refs[i] <= refMoved || !holds(p, header, k)) {
			dst[i] = r.search(b.hashes[i], k)
			for i++; i < len(keys); i++ {
				dst[i] = r.Get(keys[i])
			}
			return
		}
		r.see(header >> versionShift)
		dst[i] = t.entryAt(p)
		if t.marks {
			b.line(t, i).mark(int(b.places[i]))
		}
	}
}
