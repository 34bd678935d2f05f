package table

import (
	"math/bits"
	"slices"
	"sync/atomic"
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
	// Other is called by Live with what it has found that is not plain, or not at all. Set before Live is called.
	Other func(key []byte, e Entry) Entry
}

// Reader returns a new reader, called owner in reports about who stays pinned. Close it when it is no longer used.
func (t *Table) Reader(owner string) *Reader {
	return &Reader{table: t, cell: t.epochs.Cell(owner)}
}

// Close ends the reader. Whoever uses it all the same panics: its cell may be another's by then, who would lose what he looks at.
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

const (
	lowBytes  = 0x0101010101010101
	highBytes = 0x8080808080808080
)

// zeroBytes has the top bit of each byte of x that is 0, and perhaps of some above: see Mycroft's test in Warren, "Hacker's
// Delight", 6-1.
func zeroBytes(x uint64) uint64 { return (x - lowBytes) &^ x & highBytes }

// fits has the top bit of the byte of each of the first eight places whose tag is, or may be, this one.
func (l line) fits(tag uint8) uint64 { return zeroBytes(l.tags().Load() ^ uint64(tag)*lowBytes) }

// fitsLast is fits of the last three places.
func (l line) fitsLast(tag uint8) uint64 {
	return zeroBytes(uint64(l.lastTags().Load()^uint32(tag)*0x010101)) & 0x808080
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

// Live is Get, but of an entry that is not plain, and of none, it returns what Other makes of it. The reader is pinned.
func (r *Reader) Live(key []byte) Entry {
	// This is Get for a plain entry with a key of 8 to 16 bytes, the first with the key's tag, as nearly every entry is that
	// is asked for. Instructions count: the fewer there are, the more lookups that follow each other overlap. So there is
	// nothing here for the others, which are called last: nothing needs to be kept for after them.
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

// live is what Live returns of an entry, or none.
func (r *Reader) live(key []byte, e Entry) Entry {
	if e.Exists() && e.Plain() {
		return e
	}
	return r.Other(key, e)
}

// getLast goes on with Get in the last three places of the line.
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

// getOther goes on with Get at the object, with this header, that a place of the line leads to: it may be a longer
// entry, or none of the key.
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

// holds reports whether p, whose header this is, is an entry of key: neither a switch nor an overflow line.
func holds(p unsafe.Pointer, header uint64, key []byte) bool {
	if isPlain(header, key) {
		return equal(unsafe.Add(p, plainKey), key)
	}
	if isExpiring(header) {
		return int(*u32(p, 12)) == len(key) && equal(unsafe.Add(p, expiringKey), key)
	}
	return isLong(header) && Entry{h: (*head)(p)}.is(key)
}

// search is Get the long way.
func (r *Reader) search(h uint64, key []byte) Entry {
	e, seen, _ := r.table.find(h, key)
	r.see(seen)
	return e
}

// batch is how many keys are looked up side by side: about as many cache misses as a core keeps under way.
const batch = 16

// GetMany is Get of each key, in their order, each step for many keys at a time, so that their cache misses overlap.
// dst is as long as keys.
func (r *Reader) GetMany(dst []Entry, keys [][]byte) {
	for len(keys) > 0 {
		n := min(len(keys), batch)
		var b lookups
		b.begin(r.table, keys[:n])
		b.end(r, dst[:n], keys[:n])
		dst, keys = dst[n:], keys[n:]
	}
}

// Warm pulls what lookups and writes of these keys touch into the processor's caches, so that their misses overlap. It
// has seen nothing of it. The reader is pinned.
func (r *Reader) Warm(keys [][]byte) {
	for some := range slices.Chunk(keys, batch) {
		var b lookups
		b.begin(r.table, some)
	}
}

// WarmAtOnce is how many hashes Shard.Warm is best called with.
const WarmAtOnce = batch

// Warm pulls what lookups and writes of keys with these hashes, which belong to the shard, touch into the processor's
// caches, so that their misses overlap. The shard is locked.
func (sh *Shard) Warm(hashes []uint64) {
	t := sh.table
	for some := range slices.Chunk(hashes, batch) {
		var b lookups
		for i, h := range some {
			w := t.word(h)
			b.hashes[i], b.lines[i] = h, lineIn(w, t, h).from(t)
			atomic.LoadInt32(t.segment(w).count()) // a new key changes it
		}
		b.load(t, len(some))
		for i := range some { // what deletes an entry asks how large it is
			if r := b.refs[i]; r > refMoved {
				b.headers[i] = uint64(t.arena.SizeOf(r))
			}
		}
	}
}

// lookups are those of up to batch keys, side by side. They have no pointers, so that storing to them is a store and
// nothing more.
type lookups struct {
	hashes  [batch]uint64
	lines   [batch]uintptr   // where its line is, from the table's base on
	refs    [batch]arena.Ref // the first reference with the key's tag; 0 or refMoved: there is none
	headers [batch]uint64    // the first word of what that leads to
	places  [batch]uint8     // where in the line it is
}

// begin loads what nearly every lookup ends with. The instant of each is the load of its reference, so they are in the
// order of the keys.
func (b *lookups) begin(t *Table, keys [][]byte) {
	if len(keys) > batch {
		panic("table: too many lookups side by side")
	}
	for i, k := range keys {
		var h uint64
		if n := len(k); uint(n-8) <= 8 { // as hash does, which the compiler would call
			h = t.hasher.short(unsafe.Pointer(unsafe.SliceData(k)), n)
		} else {
			h = t.hash(k)
		}
		b.hashes[i], b.lines[i] = h, lineIn(t.word(h), t, h).from(t)
	}
	b.load(t, len(keys))
}

// load is begin of the first n, whose lines are known. Its loops are short, so that the processor has the loads of all
// rounds of one under way before it waits for the first: lines, then what they lead to.
func (b *lookups) load(t *Table, n int) {
	n = min(n, batch) // as it is; the compiler has to know
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
			headerAt(t.at(r)) // there may be an overflow line, which search will look at
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

// end looks at what begin has loaded. The instant of a lookup that takes the long way is later than those of the keys
// behind it: so they are looked up again.
func (b *lookups) end(r *Reader, dst []Entry, keys [][]byte) {
	t := r.table
	keys = keys[:min(len(keys), batch)]
	dst = dst[:len(keys)]
	for i, k := range keys {
		p, header, n := t.at(b.refs[i]), b.headers[i], len(k)
		// Without a reference the header is 0, which is nobody's.
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

// find is Get, all of it. seen is the version to wait for before telling anybody, and absent, if no entry was found, a
// number that stays the same only while the key stays absent.
//
// It repeats itself only after a segment has grown in between, so a few dozen times in a table's life.
func (t *Table) find(h uint64, key []byte) (e Entry, seen, absent uint64) {
	for {
		e, seen, absent, moved := t.findIn(t.line(h), h, key)
		if !moved {
			return e, seen, absent
		}
	}
}

// findIn is find in a line that the key's hash led to, maybe a long time ago. moved says that it has to be looked for
// again from the root.
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

// matches has a bit for each place whose tag is, or may be, this one.
func (l line) matches(tag uint8) (m uint16) {
	for x := zeroBytes(l.tags().Load() ^ uint64(tag)*lowBytes); x != 0; x &= x - 1 {
		m |= 1 << (bits.TrailingZeros64(x) >> 3)
	}
	for x := zeroBytes(uint64(l.lastTags().Load()^uint32(tag)*0x010101)) & 0x808080; x != 0; x &= x - 1 {
		m |= 1 << (8 + bits.TrailingZeros64(x)>>3)
	}
	return m
}

// resolve returns the entry that a reference, above refMoved, means at this moment, if it is to an entry or a switch.
// version is that of the transaction whose switch means that the key is absent.
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

// tries is how often many keys are read without locks before their locks are taken.
const tries = 4

// Snapshot is Get of each key, all as they were together at one instant, at which it calls now, if that is not nil. dst
// is as long as keys. The reader is pinned.
//
// It reads every key, then reads every key again. What a place means does not return to an earlier entry while the
// reader is pinned (I7), and what says that a key is absent rises with each deletion (I5); so if all is the same, all
// was current at the moment between. See "double collect" in Afek et al., "Atomic Snapshots of Shared Memory", JACM 1993.
// If writers get in between too often, their locks are taken.
func (r *Reader) Snapshot(dst []Entry, keys [][]byte, now func()) {
	t := r.table
	var few [32]uint64
	absent := few[:]
	if len(keys) > len(few) {
		absent = make([]uint64, len(keys))
	}
	for range tries {
		for i, k := range keys {
			dst[i], _, absent[i] = t.find(t.hash(k), k)
		}
		if now != nil {
			now()
		}
		same := true
		for i, k := range keys {
			e, seen, gone := t.find(t.hash(k), k)
			r.see(seen)
			same = same && e == dst[i] && gone == absent[i]
		}
		if same {
			return
		}
	}
	var set ShardSet
	for _, k := range keys {
		set.Add(ShardOf(t.hash(k)))
	}
	t.LockAll(set)
	defer t.UnlockAll(set)
	for i, k := range keys {
		var seen uint64
		dst[i], seen, _ = t.find(t.hash(k), k)
		r.see(seen)
	}
	if now != nil {
		now()
	}
}

// ShardSet is a set of shards.
type ShardSet uint64

// Add adds a shard.
func (s *ShardSet) Add(i int) { *s |= 1 << i }

// Has reports whether the shard is in the set.
func (s ShardSet) Has(i int) bool { return s&(1<<i) != 0 }

// Len returns how many there are.
func (s ShardSet) Len() int { return bits.OnesCount64(uint64(s)) }

// LockAll locks the shards of the set, in rising order, as everyone does who locks several.
func (t *Table) LockAll(s ShardSet) {
	for i := range t.shards {
		if s.Has(i) {
			t.shards[i].mu.Lock()
		}
	}
}

// UnlockAll unlocks them.
func (t *Table) UnlockAll(s ShardSet) {
	for i := range t.shards {
		if s.Has(i) {
			t.shards[i].mu.Unlock()
		}
	}
}
