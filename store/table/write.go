package table

import (
	"math/bits"
	"unsafe"

	"kv/store/arena"
)

// Place is where a key is in a locked shard, or where it is to be. It is valid until the shard is written to or unlocked.
type Place struct {
	shard *Shard
	hash  uint64
	first line      // of the key's hash
	in    line      // the line, or overflow line, that has the key, or is to have it once Prepare has been called
	i     int       // the place in that line
	ref   arena.Ref // the reference in that place; 0: the key is absent
	entry Entry
	size  int // the bytes of the object of ref; loaded by Find, so that its cache miss overlaps the entry's
}

// Entry returns the current entry, or none. For a key that the transaction under way has written it is the staged one.
func (p *Place) Entry() Entry { return p.entry }

// Hash returns the key's hash.
func (p *Place) Hash() uint64 { return p.hash }

// Version returns, for an absent key, the version of the last deletion that may have been the key's.
func (p *Place) Version() uint64 { return p.first.removal() }

// Find returns the place of key, whose hash is h and belongs to the shard, which is locked.
func (sh *Shard) Find(h uint64, key []byte) (p Place) {
	sh.FindInto(&p, h, key)
	return p
}

// FindInto is Find into p, which is the zero value. A Place that is returned is copied, and the copy of words that were stored
// a moment ago has to wait for the stores.
func (sh *Shard) FindInto(p *Place, h uint64, key []byte) {
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

// staged returns the entry that a reference means to the writer who holds the lock (of a switch, the staged one), and an
// entry that has the key, which is another if the key is staged to be deleted.
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

// Make makes an entry of the shard, which is locked. ok is false if there is no memory; must takes memory whatever the
// budget says. The spec is not kept.
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

// Drop frees an entry that was not published. The shard is locked.
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

// Prepare takes the memory that a Put at p needs: a place for the key if it is absent, and room for the version that is
// replaced if it is kept. It reports whether there is that memory; must takes it whatever the budget says.
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

// Put makes f, with this version, the current entry at p, which is prepared. If the table keeps earlier versions, the
// replaced entry becomes one, and at most keep of them stay; otherwise it is retired, and freed by the Begin of a later
// write. The shard is locked.
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
	if sh.limbo.Bytes() > 2*mostAsk { // too much to leave to a later write
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

// Delete removes the key at p, which exists, by the write of this version, and retires its entry. A table that keeps earlier
// versions Puts an entry that stands for the deletion instead. The shard is locked.
func (sh *Shard) Delete(p *Place, version uint64) {
	sh.removed(p.first, p.hash, version) // I5: before the removal
	p.in.ref(p.i).Store(0)               // the instant
	sh.retireEntry(p.ref, p.size)
	sh.grow(p.hash, -1)
	sh.Reclaim()
}

// Note has readers of the key at p, which is absent, wait for this version to be durable, as if that write had deleted it.
// The shard is locked.
func (sh *Shard) Note(p *Place, version uint64) { sh.removed(p.first, p.hash, version) }

// raise stores in the line that the write of this version deleted one of its keys.
func raise(first line, version uint64) {
	w := first.deleted()
	for old := w.Load(); old&deletedMask < version; old = w.Load() { // readers mark meanwhile
		if w.CompareAndSwap(old, old&^deletedMask|version) {
			return
		}
	}
}

// fill publishes the reference of an absent key in a free place.
func (l line) fill(i int, h uint64, ref arena.Ref) {
	// The new reference is stored before the new tag. A reader that finds it by the old tag compares keys, as always; and
	// whichever store makes the key visible, the entry is complete.
	if l.marked(i) {
		l.unmark(i) // the mark is of the key that had the place before
	}
	l.ref(i).Store(uint32(ref))
	l.setTag(i, tagOf(h))
}

// room returns a free place in a line or the overflow lines behind it, and adds an overflow line if there is none. in is
// the zero value if there is no memory for that.
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

// extend puts an overflow line behind l, whose places are all taken, and returns a free place in it.
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
	l.ref(lastPlace).Store(uint32(r)) // the entry that was there is in the overflow line: see I3
	return over, 1
}

func (sh *Shard) alloc(n int, must bool) (arena.Ref, bool) {
	if must {
		return sh.heap.MustAlloc(n)
	}
	return sh.heap.Alloc(n)
}

func (sh *Shard) entry(r arena.Ref) Entry { return sh.table.entry(r) }
