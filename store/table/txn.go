package table

import (
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
)

// switched stands in the place of each key that an unfinished transaction writes, 24 bytes: it means next once the transaction is
// committed, and old until then.
type switched struct {
	header uint64 // kindSwitch<<kindShift
	txn    arena.Ref
	old    arena.Ref // 0: the key was absent
	next   arena.Ref // 0: it is deleted; written before txn.committed is set
	mark   uint32    // Stage's
}

// txn is what the switches of one write share, 16 bytes.
type txn struct {
	// committed is 0, then 1: the store that makes all of the write visible at one instant. It publishes version, and
	// every switch's next and its version.
	committed atomic.Uint64
	version   uint64
}

const (
	switchSize = int(unsafe.Sizeof(switched{}))
	txnSize    = int(unsafe.Sizeof(txn{}))
)

// Txn is a write of several keys under way. The locks of all their shards are held from before Begin until after Commit
// or Undo. It may be used again for the next.
type Txn struct {
	table  *Table
	home   *Shard // whose heap has the txn
	ref    arena.Ref
	steps  []step
	shards ShardSet
}

// step is one key's part in it.
type step struct {
	shard *Shard
	hash  uint64
	first line
	ref   arena.Ref // of the switch
}

// Begin begins a write of several keys, whose shards, of which home is one, are locked. ok is false if there is no
// memory; must takes it past the budget.
func (x *Txn) Begin(home *Shard, must bool) (ok bool) {
	r, ok := home.alloc(txnSize, must)
	if !ok {
		return false
	}
	*(*txn)(home.table.at(r)) = txn{}
	*x = Txn{table: home.table, home: home, ref: r, steps: x.steps[:0]}
	return true
}

// Stage says that the write leaves f of the key of p, or, if f is the zero value, deletes it without a trace. Readers
// don't see it yet. An entry that the same write staged before for the key is retired: the writer may have shown it to
// a reader that is pinned. ok is false if there is no memory, and nothing was done. mark is what [Place.Mark] returns
// from then on.
func (x *Txn) Stage(p *Place, f Fresh, mark uint32, must bool) (ok bool) {
	t, sh := x.table, p.shard
	if p.ref != 0 {
		if s := (*switched)(t.at(p.ref)); s.header == kindSwitch<<kindShift {
			x.drop(sh, s)
			s.mark = mark
			s.next = f.ref // nobody reads it before committed is set
			return true
		}
	}
	if !sh.Prepare(p, must) {
		return false
	}
	r, ok := sh.alloc(switchSize, must)
	if !ok {
		return false
	}
	*(*switched)(t.at(r)) = switched{header: kindSwitch << kindShift, txn: x.ref, old: p.ref, next: f.ref, mark: mark}
	if p.ref != 0 {
		p.in.ref(p.i).Store(uint32(r)) // means p.ref, as before
	} else {
		p.in.fill(p.i, p.hash, r) // means nothing, as before
	}
	x.steps = append(x.steps, step{shard: sh, hash: p.hash, first: p.first, ref: r})
	x.shards.Add(sh.index)
	return true
}

// Mark returns the mark of the step in which a transaction that is under way staged the key of p, if one did and left
// something of it.
func (p *Place) Mark() (mark uint32, staged bool) {
	if p.ref == 0 {
		return 0, false
	}
	s := (*switched)(p.shard.table.at(p.ref))
	if s.header != kindSwitch<<kindShift {
		return 0, false
	}
	return s.mark, true
}

// Revert says that the write leaves the key of p, which it has staged, as it was.
func (x *Txn) Revert(p *Place) {
	s := (*switched)(x.table.at(p.ref))
	x.drop(p.shard, s)
	s.next = s.old
}

// drop retires the entry that was staged behind a switch.
func (x *Txn) drop(sh *Shard, s *switched) {
	if s.next != 0 && s.next != s.old {
		sh.retireEntry(s.next, sh.table.arena.SizeOf(s.next))
	}
}

func (x *Txn) switchOf(s *step) *switched { return (*switched)(x.table.at(s.ref)) }

// place returns where the step's switch is. That was not noted when it was staged: a later step may have put an overflow line in
// its place.
func (x *Txn) place(s *step) *atomic.Uint32 {
	for l := s.first; ; {
		for i := range places {
			if at := l.ref(i); at.Load() == uint32(s.ref) {
				return at
			}
		}
		next, more := x.table.overflow(arena.Ref(l.ref(lastPlace).Load()))
		if !more {
			panic("table: a switch is not where it was put")
		}
		l = next
	}
}

// Commit makes all that was staged visible at one instant, with this version. keep is as in [Shard.Put].
func (x *Txn) Commit(version uint64, keep int) {
	t := x.table
	own := (*txn)(t.at(x.ref))
	own.version = version
	for i := range x.steps {
		if s := x.switchOf(&x.steps[i]); s.next != 0 && s.next != s.old {
			setVersion(t.at(s.next), version)
			t.entry(s.next).complete()
			if t.keeps && s.old != 0 {
				t.inherit(s.next, s.old)
			}
		}
	}
	own.committed.Store(1) // the instant
	for i := range x.steps {
		st := &x.steps[i]
		s := x.switchOf(st)
		if s.next == 0 || s.next == s.old {
			st.shard.removed(st.first, st.hash, version) // I5: before the removal
		}
		x.place(st).Store(uint32(s.next))
		if s.next == s.old {
			continue
		}
		change := int32(0)
		if s.next != 0 {
			change++
		}
		if s.old != 0 {
			change--
			size := x.table.arena.SizeOf(s.old)
			if s.next != 0 {
				st.shard.replaced(s.next, s.old, size, keep)
			} else {
				st.shard.retireEntry(s.old, size)
			}
		}
		st.shard.count(st.hash, change)
	}
	x.end()
}

// Undo takes back all that was staged. No reader can tell, since the switches meant the old entries all the while.
func (x *Txn) Undo() {
	for i := range x.steps {
		st := &x.steps[i]
		s := x.switchOf(st)
		x.place(st).Store(uint32(s.old))
		if s.next != 0 && s.next != s.old {
			st.shard.Drop(Fresh{s.next}) // at once: nobody but the caller can have found it, who has no use for it any more
		}
	}
	x.end()
}

// end retires the switches and the transaction, and lets segments grow: see I9 for the order.
func (x *Txn) end() {
	for i := range x.steps {
		x.steps[i].shard.retire(x.steps[i].ref)
	}
	x.home.retire(x.ref)
	for i := range x.steps {
		x.steps[i].shard.growWhileFull(x.steps[i].hash)
	}
	x.shards.Add(x.home.index)
	for i := range x.table.shards {
		if x.shards.Has(i) {
			x.table.shards[i].Reclaim()
		}
	}
	if clear(x.steps); cap(x.steps) > keepSteps {
		x.steps = nil
	}
}

// keepSteps is for how many keys a Txn keeps room.
const keepSteps = 32
