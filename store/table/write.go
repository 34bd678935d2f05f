package table

import (
	"math"
	"math/bits"
	"time"
	"unsafe"

	"kv/store/arena"
)

// Place is where a key is in a locked shard, or that it is not there. It holds until the shard is written to or unlocked.
type Place struct {
	shard *Shard
	hash  uint64
	first line      // of the key's hash
	in    line      // the line, or overflow line, that has the key or is to have it; none yet: see Prepare
	i     int       // the place in it
	ref   arena.Ref // what is there; 0: the key is absent
	entry Entry
	size  int // of what ref leads to. Find asks: its page's record is fetched while the entry is, then
}

// Entry returns what is current there: for a key that a transaction under way has written, what that leaves of it.
func (p *Place) Entry() Entry { return p.entry }

// Hash returns the key's hash.
func (p *Place) Hash() uint64 { return p.hash }

// Version returns the version of the last deletion that may have been the key's, for a key that is absent.
func (p *Place) Version() uint64 { return p.first.removal() }

// Fetch begins to fetch the line of a key's hash into the processor's caches, for a write that is about to lock the
// key's shard: so that what is done before Find does not have to wait. It has seen nothing.
//
// It takes no lock and pins no reader, so the directory that it looks at may be something else by now: what it reads
// there becomes an address to fetch, which may be any, and nothing else.
func (t *Table) Fetch(h uint64) {
	if !fetches {
		return
	}
	w := t.word(h)
	fetchLine(uintptr(t.base) + uintptr(w>>8) + segmentLines + uintptr(h&w&(maxLines-1)*lineSize))
}

// Begin begins the write of one key: it frees some of what nobody can look at any more, and begins to fetch the memory
// that Make of s will write to. The shard is locked, and nothing was found in it yet.
func (sh *Shard) Begin(s *Spec) {
	sh.Reclaim()
	if fetches {
		fetchLine(sh.heap.Next(s.size()))
	}
}

// Find returns the place of key, whose hash is h and belongs to the shard, which is locked.
func (sh *Shard) Find(h uint64, key []byte) (p Place) {
	sh.FindIn(&p, h, key)
	return p
}

// FindIn is Find into p, which is empty: a copy of what has just been stored waits until the stores are done.
func (sh *Shard) FindIn(p *Place, h uint64, key []byte) {
	t := sh.table
	p.shard, p.hash, p.first = sh, h, t.line(h)
	for l := p.first; ; {
		for m := l.matches(tagOf(h)); m != 0; m &= m - 1 {
			i := bits.TrailingZeros16(m)
			ref := arena.Ref(l.ref(i).Load())
			if ref == 0 {
				continue
			}
			if e, of := t.staged(ref); of.Exists() && of.is(key) {
				p.in, p.i, p.ref, p.entry, p.size = l, i, ref, e, t.arena.SizeOf(ref)
				return
			}
		}
		next, more := t.overflow(arena.Ref(l.ref(lastPlace).Load()))
		if !more {
			return
		}
		l = next
	}
}

// staged returns the entry that the writer who holds the lock sees behind a reference, and an entry that has its key.
func (t *Table) staged(ref arena.Ref) (e, of Entry) {
	p := t.at(ref)
	switch kindAt(p) {
	case kindSwitch:
		s := (*switched)(p)
		if s.next != 0 {
			e = t.entry(s.next)
			return e, e
		}
		if s.old != 0 {
			return Entry{}, t.entry(s.old)
		}
		return Entry{}, Entry{} // set and deleted by the same write: see Txn.Stage
	case kindLine:
		return Entry{}, Entry{}
	}
	e = t.entryAt(p)
	return e, e
}

// Fresh is an entry that is not published yet.
type Fresh struct {
	ref arena.Ref
}

// Entry returns the entry, whose version is 0 until it is published.
func (sh *Shard) Entry(f Fresh) Entry { return sh.table.entry(f.ref) }

// Make makes an entry of what belongs to the shard, which is locked; ok is false if there is no memory. must takes
// memory past the budget.
func (sh *Shard) Make(s *Spec, must bool) (f Fresh, ok bool) {
	s.revisions = sh.table.keeps
	r, ok := sh.alloc(s.size(), must)
	if !ok {
		return Fresh{}, false
	}
	if IsLarge(len(s.Value)) {
		if s.large, ok = sh.table.keepLarge(len(s.Key), s.Value, must); !ok {
			sh.heap.Free(r)
			return Fresh{}, false
		}
	}
	s.write(sh.table.at(r))
	return Fresh{r}, true
}

// Drop frees what was not published.
func (sh *Shard) Drop(f Fresh) {
	sh.dropLarge(f.ref)
	sh.heap.Free(f.ref)
}

// current returns the reference to the entry that readers find, 0 if there is none.
func (p *Place) current() arena.Ref {
	if p.ref != 0 {
		if s := (*switched)(p.shard.table.at(p.ref)); s.header == kindSwitch<<kindShift {
			return s.old
		}
	}
	return p.ref
}

// Prepare sees to it that a write to the key of p can't fail for want of memory: that there is a place for the key, if
// it is absent, and one for the version that is replaced, if it is kept. It reports whether there is; must takes memory
// past the budget.
func (sh *Shard) Prepare(p *Place, must bool) bool {
	if sh.table.keeps && p.current() != 0 && !sh.keepRing(p, must) {
		return false
	}
	if p.ref != 0 {
		return true
	}
	p.in, p.i = sh.room(p.first, must)
	return p.in.p != nil
}

// Put makes f, with this version, the current entry of the key of p, which is prepared. The one before it is kept, with
// keep of them in all, if the table keeps any, and else retired: a small one is freed by later writes, which Begin. The shard
// is locked.
func (sh *Shard) Put(p *Place, f Fresh, version uint64, keep int) {
	setVersion(sh.table.at(f.ref), version)
	sh.entry(f.ref).complete()
	if p.ref != 0 {
		if sh.table.keeps {
			sh.table.inherit(f.ref, p.ref)
		}
		p.in.ref(p.i).Store(uint32(f.ref)) // the instant
		if sh.table.marks {
			p.in.mark(p.i)
		}
		sh.replaced(f.ref, p.ref, p.size, keep)
	} else {
		p.in.fill(p.i, p.hash, f.ref) // the instant is in it
		sh.grow(p.hash, 1)
	}
	if sh.limbo.Bytes() > 2*mostAsk { // too much to leave to the next write
		sh.Reclaim()
	}
}

// replaced keeps or retires what next has replaced.
func (sh *Shard) replaced(next, old arena.Ref, size, keep int) {
	if sh.table.keeps {
		sh.remember(next, old, keep)
		return
	}
	sh.retireEntry(old, size)
}

// Delete removes the key of p, which is there, by the write of this version, and retires its entry. Where earlier
// versions are kept, an entry that stands for the deletion is Put instead. The shard is locked.
func (sh *Shard) Delete(p *Place, version uint64) {
	sh.removed(p.first, p.hash, version) // I5: before the removal
	p.in.ref(p.i).Store(0)               // the instant
	sh.retireEntry(p.ref, p.size)
	sh.grow(p.hash, -1)
	sh.Reclaim()
}

// Note has readers of the key of p, which is absent, wait for this version, as if it had been deleted by it. The shard is locked.
func (sh *Shard) Note(p *Place, version uint64) { sh.removed(p.first, p.hash, version) }

// raise notes in the line that something was deleted by the write of this version.
func raise(first line, version uint64) {
	w := first.deleted()
	for old := w.Load(); old&deletedMask < version; old = w.Load() { // readers mark meanwhile
		if w.CompareAndSwap(old, old&^deletedMask|version) {
			return
		}
	}
}

// fill publishes the reference for a key that is absent in a place that is free.
func (l line) fill(i int, h uint64, ref arena.Ref) {
	// A reader who finds the old tag and the new reference compares keys; so whichever of the two stores makes the key visible,
	// the entry behind it is complete, and no other key is taken for it.
	if l.marked(i) {
		l.unmark(i) // whose place it was
	}
	l.ref(i).Store(uint32(ref))
	l.setTag(i, tagOf(h))
}

// room returns a free place in a line or the overflow lines behind it, of which it adds one if it has to; nothing, if there is no
// memory for that.
func (sh *Shard) room(l line, must bool) (in line, at int) {
	for {
		for i := range places {
			if l.ref(i).Load() == 0 {
				return l, i
			}
		}
		next, more := sh.table.overflow(arena.Ref(l.ref(lastPlace).Load()))
		if !more {
			return sh.extend(l, must)
		}
		l = next
	}
}

// extend puts an overflow line behind l, whose places are all taken, and returns a place in it.
func (sh *Shard) extend(l line, must bool) (in line, at int) {
	r, ok := sh.alloc(lineSize, must)
	if !ok {
		return line{}, 0
	}
	over := line{sh.table.at(r)}
	clear(unsafe.Slice((*uint64)(over.p), lineSize/8))
	*(*uint64)(over.p) = kindLine << kindShift
	over.ref(0).Store(l.ref(lastPlace).Load())
	over.setTag(0, l.tag(lastPlace))
	if l.marked(lastPlace) {
		over.mark(0)
	}
	l.ref(lastPlace).Store(uint32(r)) // what was there is found behind it: see I3
	return over, 1
}

func (sh *Shard) alloc(n int, must bool) (arena.Ref, bool) {
	if must {
		return sh.heap.MustAlloc(n)
	}
	return sh.heap.Alloc(n)
}

// retire lets an object wait until nobody can look at it any more.
func (sh *Shard) retire(r arena.Ref) { sh.wait(uint64(r), sh.table.arena.SizeOf(r)) }

// retireEntry is retire of an entry, an object of so many bytes, with its large value.
func (sh *Shard) retireEntry(r arena.Ref, size int) {
	what := uint64(r)
	if e := sh.entry(r); e.large() != 0 {
		what |= wholeEntry
		size += int(e.largeSize())
	}
	sh.wait(what, size)
}

// wholeEntry marks, in limbo, an entry whose large value goes with it.
const wholeEntry = 1 << 32

// wait puts into limbo what takes so many bytes.
func (sh *Shard) wait(what uint64, size int) {
	sh.limbo.Retire(what, sh.table.epochs.Now(), size)
	sh.retiredSince += size
	sh.retiredNow++
}

// waits returns how many bytes will be free once what waits in limbo is.
func (sh *Shard) waits(what uint64) int {
	n := sh.table.arena.SizeOf(arena.Ref(what))
	if what&wholeEntry != 0 {
		n += int(sh.entry(arena.Ref(what)).largeSize())
	}
	return n
}

func (sh *Shard) entry(r arena.Ref) Entry { return sh.table.entry(r) }

const (
	// A shard asks for the epoch to move when it has retired a 1/askShare of what it has, within bounds: memory is to
	// be used again while it is in the processor's caches, all shards' together, and looking at all readers is not for
	// every write.
	askShare = 32
	leastAsk = 1 << 10
	mostAsk  = 2 << 10
	// A write frees so many objects, at most, and freePerRetired for each that it retires itself: so that none pays for
	// many that others have left, and they go faster than they come.
	freeAtOnce     = 16
	freePerRetired = 2
)

// Reclaim frees some of what nobody can look at any more. Every write ends with it, or begins: see I9.
func (sh *Shard) Reclaim() {
	e := sh.table.epochs
	if sh.retiredSince > min(max(leastAsk, int(sh.heap.Used()/askShare)), mostAsk) {
		sh.retiredSince = 0
		e.Advance()
	}
	if n := sh.enough(); n > 0 && sh.limbo.Ready(e.Safe(), n) {
		sh.drain(e.Safe(), freeAtOnce+freePerRetired*sh.retiredNow)
	}
	sh.retiredNow = 0
}

// enough returns how many objects have to be ready, at least, before any is freed; 0: none is to be freed yet.
func (sh *Shard) enough() int {
	switch {
	case sh.limbo.Bytes() >= mostAsk:
		return 1
	case sh.limbo.Len() >= freeAtOnce:
		return freeAtOnce
	}
	return 0
}

func (sh *Shard) drain(safe uint64, most int) {
	sh.limbo.Drain(safe, most, func(what uint64) int {
		n := sh.waits(what)
		if what&wholeEntry != 0 {
			sh.dropLarge(arena.Ref(what))
		}
		sh.heap.Free(arena.Ref(what))
		return n
	})
}

// Waiting returns how many bytes wait until nobody can look at them any more. The shard is locked.
func (sh *Shard) Waiting() int64 { return sh.limbo.Bytes() }

// Drain frees all that nobody can look at any more, for a shard that is seldom written to. The shard is locked.
func (sh *Shard) Drain() {
	if sh.limbo.Len() > 0 {
		sh.drain(sh.table.epochs.Hurry(), math.MaxInt)
	}
}

// Settle waits until nobody can look at what was replaced or deleted before, at most for so long, and frees all that
// nobody can look at any more. It reports whether that is all of it. No shard is locked, and no reader pinned, by its
// caller.
func (t *Table) Settle(most time.Duration) bool {
	all := t.epochs.Settle(most)
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		sh.drain(t.epochs.Safe(), math.MaxInt)
		sh.mu.Unlock()
	}
	return all
}
