package table

import (
	"unsafe"

	"kv/store/arena"
)

// revisions are the earlier versions of one key that are kept: a ring of references to entries, oldest first. The key's
// current entry, which may stand for a deletion, has the reference to it. Only the holder of the shard's lock looks at
// a ring, so it is changed in place; its entries are what readers have seen as current and may still look at, so what
// is dropped from it is retired.
//
//	0 u32 room, a power of two | 4 u32 first | 8 u32 count | 12 u32 0 | 16 u32 refs[room]
type revisions struct{ p unsafe.Pointer }

const (
	ringHeader = 16
	leastRing  = 4
	// dropAtOnce is how many revisions a write drops, at most, besides the one that it adds: so that a ring which is
	// far too long, since fewer are to be kept than before, shrinks without one write paying for all.
	dropAtOnce = 4
)

func (r revisions) room() int      { return int(*u32(r.p, 0)) }
func (r revisions) first() int     { return int(*u32(r.p, 4)) }
func (r revisions) count() int     { return int(*u32(r.p, 8)) }
func (r revisions) setCount(n int) { *u32(r.p, 8) = uint32(n) }
func (r revisions) size() int      { return ringHeader + 4*r.room() }

// slot returns where the i-th oldest reference is.
func (r revisions) slot(i int) *uint32 {
	return u32(r.p, ringHeader+4*((r.first()+i)&(r.room()-1)))
}

// ringOf returns the ring of an entry, and its reference; 0 if it has none.
func (t *Table) ringOf(e Entry) (r revisions, ref arena.Ref) {
	if !e.Exists() {
		return r, 0
	}
	at := e.revisionsAt()
	if at == 0 || *u32(e.p(), at) == 0 {
		return r, 0
	}
	ref = arena.Ref(*u32(e.p(), at))
	return revisions{t.at(ref)}, ref
}

// newRing makes a ring with room for n, and with what an older one has.
func (sh *Shard) newRing(n int, old revisions, must bool) (arena.Ref, bool) {
	room := leastRing
	for room < n {
		room *= 2
	}
	ref, ok := sh.alloc(ringHeader+4*room, must)
	if !ok {
		return 0, false
	}
	r := revisions{sh.table.at(ref)}
	*u32(r.p, 0), *u32(r.p, 4), *u32(r.p, 8), *u32(r.p, 12) = uint32(room), 0, 0, 0
	if old.p != nil {
		for i := range old.count() {
			*r.slot(i) = *old.slot(i)
		}
		r.setCount(old.count())
	}
	return ref, true
}

// keepRing sees to it that the ring of the current entry of p has room for one more, and that there is one.
func (sh *Shard) keepRing(p *Place, must bool) bool {
	current := sh.table.entry(p.current())
	old, ref := sh.table.ringOf(current)
	n := 1
	if ref != 0 {
		if n += old.count(); n <= old.room() {
			return true
		}
	}
	to, ok := sh.newRing(n, old, must)
	if !ok {
		return false
	}
	// The entry goes on with it, whatever becomes of this write. Readers don't look at this field.
	*u32(current.p(), current.revisionsAt()) = uint32(to)
	sh.keptBytes += int64(sh.table.arena.SizeOf(to))
	if ref != 0 {
		sh.freeRing(ref)
	}
	return true
}

func (sh *Shard) freeRing(ref arena.Ref) {
	sh.keptBytes -= int64(sh.table.arena.SizeOf(ref))
	sh.heap.Free(ref)
}

// inherit gives an entry that is not published yet the ring of the one that it will replace.
func (t *Table) inherit(next, old arena.Ref) {
	_, ring := t.ringOf(t.entry(old))
	e := t.entry(next)
	*u32(e.p(), e.revisionsAt()) = uint32(ring)
}

// remember makes the entry that next has replaced, whose ring next has inherited, the newest of the ring, and drops the
// oldest beyond keep. A ring that has nothing left goes as well.
func (sh *Shard) remember(next, replaced arena.Ref, keep int) {
	e := sh.table.entry(next)
	r, ref := sh.table.ringOf(e)
	*r.slot(r.count()) = uint32(replaced)
	r.setCount(r.count() + 1)
	sh.keep(replaced, 1)
	for dropped := 0; r.count() > keep && dropped <= dropAtOnce; dropped++ {
		sh.dropOldest(r)
	}
	if r.count() == 0 {
		*u32(e.p(), e.revisionsAt()) = 0
		sh.freeRing(ref)
	}
}

// keep counts an earlier version that comes, sign 1, or goes, sign -1.
func (sh *Shard) keep(r arena.Ref, sign int64) {
	sh.kept += sign
	sh.keptBytes += sign * sh.bytes(r)
}

// bytes returns what an entry takes, with its large value.
func (sh *Shard) bytes(r arena.Ref) int64 {
	return int64(sh.table.arena.SizeOf(r)) + sh.entry(r).largeSize()
}

// Kept returns how many earlier versions the shard, which is locked, keeps, and how many bytes they and what leads to them take.
func (sh *Shard) Kept() (n, bytes int64) { return sh.kept, sh.keptBytes }

func (sh *Shard) dropOldest(r revisions) {
	oldest := arena.Ref(*r.slot(0))
	sh.keep(oldest, -1)
	sh.retireEntry(oldest, sh.table.arena.SizeOf(oldest))
	*u32(r.p, 4) = uint32((r.first() + 1) & (r.room() - 1))
	r.setCount(r.count() - 1)
}

// Revisions calls f for the earlier versions of the key of p that are kept, newest first, as long as it returns true.
// The shard is locked.
func (sh *Shard) Revisions(p *Place, f func(Entry) bool) {
	if !p.entry.Exists() {
		return
	}
	r, ref := sh.table.ringOf(p.entry)
	if ref == 0 {
		return
	}
	for i := r.count() - 1; i >= 0; i-- {
		if !f(sh.table.entry(arena.Ref(*r.slot(i)))) {
			return
		}
	}
}

// Oldest returns the oldest kept version of the key of e, which is current, and the version that has replaced it; ok is
// false if none is kept. The shard is locked.
func (sh *Shard) Oldest(e Entry) (old Entry, replacedBy uint64, ok bool) {
	r, ref := sh.table.ringOf(e)
	if ref == 0 || r.count() == 0 {
		return Entry{}, 0, false
	}
	old, replacedBy = sh.oldest(r, e)
	return old, replacedBy, true
}

func (sh *Shard) oldest(r revisions, current Entry) (old Entry, replacedBy uint64) {
	t := sh.table
	replacedBy = current.Version()
	if r.count() > 1 {
		replacedBy = t.entry(arena.Ref(*r.slot(1))).Version()
	}
	return t.entry(arena.Ref(*r.slot(0))), replacedBy
}

// Forget drops the oldest kept versions of the key of p for as long as drop says so, of each and the version that
// replaced it, and at most for most of them; it returns how many it dropped. A deletion that has nothing before it is
// no version to go back to, and goes too, uncounted: gone says so. The shard is locked, and p not to be used any more.
func (sh *Shard) Forget(p *Place, most int, drop func(old Entry, replacedBy uint64) bool) (dropped int, gone bool) {
	e := p.entry
	if !e.Exists() {
		return 0, false
	}
	r, ref := sh.table.ringOf(e)
	for ; ref != 0 && r.count() > 0 && dropped < most; dropped++ {
		if !drop(sh.oldest(r, e)) {
			break
		}
		sh.dropOldest(r)
	}
	if ref != 0 && r.count() == 0 {
		*u32(e.p(), e.revisionsAt()) = 0
		sh.freeRing(ref)
		ref = 0
	}
	if ref == 0 && e.Deleted() {
		sh.removed(p.first, p.hash, e.Version()) // readers wait for the deletion as before
		p.in.ref(p.i).Store(0)
		sh.retireEntry(p.ref, p.size)
		sh.grow(p.hash, -1)
		gone = true
	}
	sh.Reclaim()
	return dropped, gone
}

// Insert makes f an earlier version of the key of p, which is prepared, is current in a newer one, and keeps keep of
// them: for who gives versions in any order. It reports whether f was taken; it is not if that version is there, or
// older than what is kept. The shard is locked.
func (sh *Shard) Insert(p *Place, f Fresh, version uint64, keep int) (taken bool) {
	t := sh.table
	r, ref := t.ringOf(p.entry)
	if ref == 0 {
		return false
	}
	at := r.count()
	for at > 0 {
		v := t.entry(arena.Ref(*r.slot(at - 1))).Version()
		if v == version {
			return false
		}
		if v < version {
			break
		}
		at--
	}
	if at == 0 && r.count() >= keep {
		return false
	}
	setVersion(t.at(f.ref), version)
	sh.entry(f.ref).complete()
	for i := r.count(); i > at; i-- {
		*r.slot(i) = *r.slot(i - 1)
	}
	*r.slot(at) = uint32(f.ref)
	r.setCount(r.count() + 1)
	sh.keep(f.ref, 1)
	if r.count() > keep {
		sh.dropOldest(r)
	}
	sh.Reclaim()
	return true
}
