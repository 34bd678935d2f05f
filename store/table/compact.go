package table

import (
	"sync/atomic"
	"time"
	"unsafe"

	"kv/store/arena"
)

// Compact empties thinly used chunks, for [arena.Arena.Scavenge] to give back, by moving at most so many bytes of objects.
// It also gives segments that hold few keys fewer lines, and merges pairs that hold hardly any. It returns how many bytes
// became empty. It locks one shard at a time, for one segment at a time, so that no writer waits for long; readers don't
// wait.
//
// A moved entry is a new object with the same content and version. A reader of many keys takes that for a write, and reads
// again. The old object is retired like any other, so a chunk is empty only when the readers of that time have unpinned.
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
	t.WaitForReaders(readersWait) // a chunk is empty once no reader can hold what was moved out of it
	return t.arena.EndCompact()
}

// readersWait is how long a compaction waits for readers at its end.
const readersWait = 10 * time.Millisecond

// compactSegment is Compact of the segment of h. It returns the first hash behind the segment; more is false if that is
// another shard's.
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

// moveEntry copies an entry that lies in a chunk which is to become empty, and stores the copy's reference in at.
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

// moveRing is moveEntry for the earlier versions of an entry, and their ring.
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

// merge makes one segment of g, which is that of h, and the segment behind it that it was split from, if both hold hardly
// any keys.
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

// halveDirectory makes the directory half as long, if every segment is in it twice.
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

// moveDirectory is moveEntry for the directory.
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
