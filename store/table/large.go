package table

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
)

// A large value is an object of Go's, which its entry names by a number. It is not copied, neither when it comes nor
// when it is read: who has found it may keep it for as long as it likes, and send it to a slow client, without keeping
// anything else from being used again. The border is where copying begins to cost more than the collector: one object
// in a million bytes is nothing to mark, a copy of 4 KiB takes a tenth of what a system call does.
//
// The numbers are like addresses of the arena: one is given out again only when nobody is pinned any more who may have
// found an entry with it.

// mostInline is the longest value that is part of its entry.
const mostInline = 4 << 10

// IsLarge reports whether a value of n bytes lies outside of its entry.
func IsLarge(n int) bool { return n > mostInline }

// larges has the large values of a table by their numbers.
type larges struct {
	// all are blocks of values, and grow. An atomic store, under mu, publishes a longer list of the same blocks:
	// readers take no lock.
	all atomic.Pointer[[]*largeBlock]

	mu    sync.Mutex // guards the rest, and stores to all; taken with a shard locked
	free  []uint32   // numbers that nobody uses
	bytes int64      // that the values in use take
}

// largeBlock is what the list of values grows by. Each pointer is stored before the entry is published that has its
// number (see Entry.complete), and overwritten when no reader is left who may have found that.
type largeBlock [1 << largeBits]atomic.Pointer[byte]

const largeBits = 10

// at returns the first byte of a value.
func (l *larges) at(number uint32) *byte {
	return (*l.all.Load())[number>>largeBits][number&(1<<largeBits-1)].Load()
}

// add gives a value a number, above 0.
func (l *larges) add(value []byte, size int64) (number uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		var all []*largeBlock
		if old := l.all.Load(); old != nil {
			all = *old
		}
		first := uint32(len(all)) << largeBits
		all = append(all[:len(all):len(all)], new(largeBlock))
		l.all.Store(&all)
		for i := uint32(1 << largeBits); i > 0; i-- {
			if n := first + i - 1; n > 0 {
				l.free = append(l.free, n)
			}
		}
	}
	last := len(l.free) - 1
	number = l.free[last]
	l.free = l.free[:last]
	(*l.all.Load())[number>>largeBits][number&(1<<largeBits-1)].Store(unsafe.SliceData(value))
	l.bytes += size
	return number
}

// remove lets a value go.
func (l *larges) remove(number uint32, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	(*l.all.Load())[number>>largeBits][number&(1<<largeBits-1)].Store(nil)
	l.free = append(l.free, number)
	l.bytes -= size
}

// used returns the bytes of all values.
func (l *larges) used() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// keepLarge takes the memory of a value from the budget and gives it a number; ok is false if the limit does not allow it.
func (t *Table) keepLarge(key int, value []byte, must bool) (number uint32, ok bool) {
	size := t.sizeOfLarge(key, len(value))
	if t.budget != nil && !t.budget.Take(size, must) {
		return 0, false
	}
	return t.larges.add(value, size), true
}

// dropLarge lets the large value of an entry go, if it has one.
func (sh *Shard) dropLarge(r arena.Ref) {
	t, e := sh.table, sh.entry(r)
	if number := e.large(); number != 0 {
		size := e.largeSize()
		t.larges.remove(number, size)
		if t.budget != nil {
			t.budget.Give(size)
		}
	}
}

// complete publishes the large value of an entry, if it has one, once more: its owner may have written to the object, a
// version for one, since it was given its number. The store of the reference does that too, but where that is beside
// Go's heap the race detector does not see it.
func (e Entry) complete() {
	if n := e.large(); n != 0 {
		p := &(*e.t.larges.all.Load())[n>>largeBits][n&(1<<largeBits-1)]
		p.Store(p.Load())
	}
}

// largeSize returns how many bytes the entry's large value takes; 0 if it has none.
func (e Entry) largeSize() int64 {
	if e.large() == 0 {
		return 0
	}
	_, key := e.keyAt()
	return e.t.sizeOfLarge(key, e.Len())
}
