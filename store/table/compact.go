package table

import (
	"sync/atomic"
	"time"
	"unsafe"

	"kv/store/arena"
)

// Compact makes of thinly used memory chunks that hold nothing, which [arena.Arena.Scavenge] then gives back; gives
// segments that hold little fewer lines; merges those that hold next to nothing, one level of the directory at a time.
// most is how many bytes of objects it moves. It locks a shard at a time and works on a segment at a time, so that no
// writer waits for long; readers don't wait. It returns how many bytes became empty.
//
// A moved entry is a new object with the same content and version: to a reader of many keys it looks like a write, and it reads
// again. The old object is retired like any other; so what a compaction frees is free only after the readers of its time are
// gone.
func (t *Table) Compact(most int64) (emptied int64) {
	t.compacting.Lock()
	defer t.compacting.Unlock()
	leaving := t.arena.BeginCompact(most) > 0
	for i := range t.shards {
		sh := &t.shards[i]
		h, more := uint64(i)<<(64-shardBits), true
		for more {
			sh.mu.Lock()
			h, more = sh.compactSegment(h, leaving)
			sh.mu.Unlock()
		}
		sh.mu.Lock()
		sh.halveDirectory()
		sh.heap.Flush()
		sh.Drain()
		sh.mu.Unlock()
	}
	if !leaving {
		return 0
	}
	t.Settle(mostSettle) // a chunk is empty when nobody can be looking at what was moved out of it
	return t.arena.EndCompact()
}

// mostSettle is how long a compaction waits for readers at its end.
const mostSettle = 10 * time.Millisecond

// compactSegment moves what has to be moved of the segment of h, and returns the first hash behind it in the shard.
func (sh *Shard) compactSegment(h uint64, leaving bool) (next uint64, more bool) {
	t := sh.table
	d := t.directory(sh.root().Load())
	g := t.segment(d.word(d.index(h)).Load())
	if merged, ok := sh.merge(d, g, h); ok {
		g = merged
	}
	last := g.last(h)
	lines := g.lines
	for lines > 1 && int(*g.count()) < lines*fullAt/4 {
		lines /= 2
	}
	if leaving {
		if h == uint64(sh.index)<<(64-shardBits) {
			sh.heap.Flush() // what it has at hand may lie in chunks that are to become empty
			sh.moveDirectory(d)
			d = t.directory(sh.root().Load())
		}
		moves := t.arena.Leaving(g.ref)
		for i := range g.lines {
			for l, more := g.line(i), true; more && !moves; {
				ref := arena.Ref(l.ref(lastPlace).Load())
				l, more = t.overflow(ref)
				moves = more && t.arena.Leaving(ref)
			}
			t.each(g.line(i), func(in line, at int, ref arena.Ref) {
				if t.keeps {
					sh.moveRing(ref)
				}
				sh.moveEntry(ref, in.ref(at))
			})
		}
		if moves || lines < g.lines {
			sh.resize(d, g, h, lines, true)
		}
	} else if lines < g.lines {
		sh.resize(d, g, h, lines, true)
	}
	sh.Reclaim()
	return last + 1, last+1 != 0 && ShardOf(last+1) == sh.index
}

// moveEntry copies an entry to where it may stay, if it lies where it may not, and stores the reference to it in at.
func (sh *Shard) moveEntry(ref arena.Ref, at *atomic.Uint32) {
	t := sh.table
	if !t.arena.Leaving(ref) {
		return
	}
	e := sh.entry(ref)
	n := e.size()
	to, ok := sh.heap.MustAlloc(n)
	if !ok {
		return // the chunk stays as it is
	}
	copy(unsafe.Slice((*byte)(t.at(to)), n), unsafe.Slice((*byte)(e.p()), n))
	at.Store(uint32(to))
	sh.retire(ref) // a large value is the new one's now
}

// moveRing moves what lies in the wrong place of the earlier versions of an entry.
func (sh *Shard) moveRing(ref arena.Ref) {
	t := sh.table
	e := t.entry(ref)
	r, ring := t.ringOf(e)
	if ring == 0 {
		return
	}
	for i := range r.count() {
		sh.moveEntry(arena.Ref(*r.slot(i)), (*atomic.Uint32)(unsafe.Pointer(r.slot(i))))
	}
	if t.arena.Leaving(ring) {
		if to, ok := sh.newRing(r.count(), r, true); ok {
			*u32(e.p(), e.revisionsAt()) = uint32(to)
			sh.keptBytes += int64(t.arena.SizeOf(to))
			sh.freeRing(ring)
		}
	}
}

// size returns the bytes of the entry.
func (e Entry) size() int {
	at, n := e.keyAt()
	if e.large() != 0 {
		return at + n
	}
	return at + n + e.Len()
}

// merge makes one segment of g, the segment of h, and the one behind it that it was split from, if both hold next to nothing.
func (sh *Shard) merge(d directory, g segment, h uint64) (merged segment, ok bool) {
	t := sh.table
	depth := *g.depth()
	bit := 64 - shardBits - depth // the hash bit that tells the two apart
	if depth == 0 || g.lines > 1 || h>>bit&1 != 0 {
		return g, false
	}
	first, n := d.span(g, h)
	other := t.segment(d.word(first + n).Load())
	if *other.depth() != depth || other.lines > 1 || *g.count()+*other.count() > fullAt/4 {
		return g, false
	}
	merged, ok = sh.newSegment(1, depth-1, true)
	if !ok || !sh.gather(g, merged, true) || !sh.gather(other, merged, true) {
		sh.freeSegments(merged)
		return g, false
	}
	for i := range 2 * n {
		d.word(first + i).Store(merged.word(sh.table))
	}
	sh.abandon(g)
	sh.abandon(other)
	return merged, true
}

// halveDirectory makes the directory half as long, if every segment is shown twice.
func (sh *Shard) halveDirectory() {
	d := sh.table.directory(sh.root().Load())
	if d.depth() == 0 {
		return
	}
	for i := 0; i < 1<<d.depth(); i += 2 {
		if d.word(i).Load() != d.word(i+1).Load() {
			return
		}
	}
	half, ok := sh.newDirectory(d.depth()-1, true)
	if !ok {
		return
	}
	for i := range 1 << half.depth() {
		half.word(i).Store(d.word(2 * i).Load())
	}
	sh.root().Store(half.root(sh.table))
	sh.retire(d.ref)
}

func (sh *Shard) moveDirectory(d directory) {
	t := sh.table
	if !t.arena.Leaving(d.ref) {
		return
	}
	to, ok := sh.newDirectory(d.depth(), true)
	if !ok {
		return
	}
	for i := range 1 << d.depth() {
		to.word(i).Store(d.word(i).Load())
	}
	sh.root().Store(to.root(sh.table))
	sh.retire(d.ref)
}

// Figures are a table's, in bytes and objects.
type Figures struct {
	Arena        arena.Figures
	Used         int64 // what objects and large values take, those that wait included
	Large        int64 // of Used, large values
	Limbo        int64 // of Used, what waits until nobody can look at it
	LimboObjects int64
}

// Figures returns the figures. It locks one shard after the other.
func (t *Table) Figures() Figures {
	f := Figures{Arena: t.arena.Figures()}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		f.Used += sh.heap.Used()
		f.Limbo += sh.limbo.Bytes()
		f.LimboObjects += int64(sh.limbo.Len())
		sh.mu.Unlock()
	}
	f.Large = t.larges.used()
	f.Used += f.Large
	return f
}

// Large returns how many bytes the large values take.
func (t *Table) Large() int64 { return t.larges.used() }

// Held looks at all readers, and returns for how long, at least, one that stays pinned has kept memory from being used
// again, and who that is; 0: nobody has.
func (t *Table) Held() (reader string, since time.Duration) {
	t.epochs.Hurry() // not Advance, which may rest and leave what was found before the reader ended
	return t.epochs.Held()
}

// Scavenge is that of [arena.Arena].
func (t *Table) Scavenge(spare bool) int64 { return t.arena.Scavenge(spare) }

// Resident returns how many bytes the table has of the system.
func (t *Table) Resident() int64 { return t.arena.Figures().Resident }
