package table

import (
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
)

// How a table is filled with what its user holds already: a snapshot, a log. Nearly every key is new then, its line was
// fetched with those of others, and nothing is refused.

// Loading says whether a table is being filled that has to take everything: its segments then grow whatever the budget
// says. Otherwise they grow only within it, and lines overflow. With alone nobody reads it, or has a [Reader], before
// it is false again: what is added is then stored without fences, so that the cache misses of one key overlap those of
// the next.
func (t *Table) Loading(on, alone bool) {
	t.LockAll(^ShardSet(0))
	defer t.UnlockAll(^ShardSet(0))
	t.loading, t.alone = on, on && alone
}

// Add puts an entry of this version for a key that is absent, as Find, Make, Prepare and Put would, but does less where
// that is plain to see from the key's line; otherwise it does nothing, and added is false: the key may be there, its
// line full, or there may be no memory. A large value is never added. The spec is not kept. The shard is locked.
func (sh *Shard) Add(h uint64, s *Spec, version uint64) (added bool) {
	t := sh.table
	if s.isLarge() {
		return false
	}
	g := t.segment(t.word(h))
	l := g.of(h)
	if l.fits(tagOf(h))|l.fitsLast(tagOf(h)) != 0 {
		return false
	}
	i := l.free()
	if i < 0 {
		return false
	}
	s.revisions = t.keeps
	r, ok := sh.heap.MustAlloc(s.size())
	if !ok {
		return false
	}
	p := t.at(r)
	s.write(p)
	setVersion(p, version)
	if t.alone {
		l.fillAlone(i, h, r)
	} else {
		l.fill(i, h, r)
	}
	if *g.count()++; *g.count() > *g.limit() {
		sh.growWhileFull(h)
		sh.Reclaim()
	}
	return true
}

// WarmLines is Warm for Add: keys that are new have nothing behind their lines. It is called with up to WarmAtOnce.
func (sh *Shard) WarmLines(hashes []uint64) {
	t := sh.table
	var words [batch]uint64
	hashes = hashes[:min(len(hashes), batch)]
	for i, h := range hashes {
		words[i] = t.word(h)
	}
	for i, h := range hashes { // so short that all loads are under way before the first has come
		g := t.segment(words[i])
		atomic.LoadInt32(g.count())
		g.of(h).tags().Load()
	}
}

// free returns a place that is free, if all before it are taken and the last is not, as where nothing was deleted; else
// -1. Behind the last there may be an overflow line, which may have the key.
func (l line) free() int {
	if l.ref(lastPlace).Load() != 0 {
		return -1
	}
	n := 0
	for i := range lastPlace { // without a branch that depends on the line: those are as good as random
		if l.ref(i).Load() != 0 {
			n++
		}
	}
	if l.ref(n).Load() != 0 {
		return -1
	}
	return n
}

// fillAlone is fill where nobody reads.
func (l line) fillAlone(i int, h uint64, ref arena.Ref) {
	if l.marked(i) {
		l.unmark(i)
	}
	*u32(l.p, lineRefs+i*4) = uint32(ref)
	if i < 8 {
		w := (*uint64)(unsafe.Add(l.p, lineTags))
		*w = *w&^(0xff<<(8*i)) | uint64(tagOf(h))<<(8*i)
		return
	}
	i -= 8
	w := u32(l.p, lineTags+8)
	*w = *w&^(0xff<<(8*i)) | uint32(tagOf(h))<<(8*i)
}
