package store

import (
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// calendar has notes of which hashes have something due, and when: a key that expires, or history that grows too old. It
// knows nothing of the map. What is due is looked up when a note's time comes; it may have been put off, or be gone, by then.
//
// It is a hierarchical timing wheel: the next 64 ticks have a slot each, the 64 ticks behind each of these spans share one of
// 63 slots, and so on. When the time comes to a slot of many ticks, its notes move to finer slots; a note moves at most once
// a level. See Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987. The level of a note is given by the
// highest bit in which its tick differs from base, as in a radix heap (Ahuja et al., "Faster algorithms for the shortest path
// problem", JACM 1990), so no wheel has to be turned while time passes.
//
// A slot's notes are in a chain of blocks, of which only the first may have room, so taking them reads memory in sequence.
// Blocks have no pointers, and come from pages by number, so no step copies or scans many of them.
type calendar struct {
	origin   uint64                                // tick 0
	base     uint32                                // no note is due in an earlier tick, except those that were late when they were added
	occupied [calendarLevels]uint64                // a bit for each slot that has a block
	slots    [calendarLevels][calendarSlots]uint32 // each slot's first block, counted from 1; 0: none

	pages []*calendarPage
	fresh uint32 // how many blocks of the pages have ever been used
	free  uint32 // the first block of those that are free again, counted from 1; 0: none
	n     int    // notes
}

const (
	tickBits       = 6 // a tick is 64 ms
	slotDigits     = 6
	calendarSlots  = 1 << slotDigits
	calendarLevels = 6 // of 6 bits each: all of a uint32
	blockNotes     = 10
	pageBlocks     = 16
)

type calendarPage [pageBlocks]block

// block is a part of a slot's notes. It is 128 bytes: two cache lines, which processors fetch together.
type block struct {
	hashes [blockNotes]uint64
	ticks  [blockNotes]uint32 // at most math.MaxUint32, which is 8 years from origin
	n      uint32             // notes, at least one while the block is in a slot
	next   uint32             // the next block of the slot, or the next free one, counted from 1; 0: none
}

// newCalendar makes a calendar that begins at this time, in Unix milliseconds.
func newCalendar(now uint64) *calendar { return &calendar{origin: now >> tickBits} }

const calendarMemory = int64(unsafe.Sizeof(calendar{}))

// memory returns the bytes that c takes.
func (c *calendar) memory() int64 {
	if c == nil {
		return 0
	}
	return calendarMemory + int64(cap(c.pages))*8 + int64(len(c.pages))*int64(unsafe.Sizeof(calendarPage{}))
}

// tick returns the tick of a time in Unix milliseconds.
func (c *calendar) tick(at uint64) uint32 {
	t := at >> tickBits
	return uint32(min(t-min(t, c.origin), math.MaxUint32))
}

func (c *calendar) at(i uint32) *block { return &c.pages[(i-1)/pageBlocks][(i-1)%pageBlocks] }

// add adds a note that hash has something due at this time, in Unix milliseconds.
func (c *calendar) add(hash, at uint64) {
	c.n++
	c.put(hash, c.tick(at))
}

// put puts a note into its slot.
func (c *calendar) put(hash uint64, tick uint32) {
	t := max(tick, c.base)
	level := max(bits.Len32(t^c.base)-1, 0) / slotDigits
	slot := t >> (level * slotDigits) % calendarSlots
	first := &c.slots[level][slot]
	if *first == 0 || c.at(*first).n == blockNotes {
		*first = c.newBlock(*first)
		c.occupied[level] |= 1 << slot
	}
	b := c.at(*first)
	b.hashes[b.n], b.ticks[b.n] = hash, tick
	b.n++
}

// newBlock returns the number of a block without notes, with next behind it.
func (c *calendar) newBlock(next uint32) uint32 {
	i := c.free
	switch {
	case i != 0:
		c.free = c.at(i).next
	case int(c.fresh) == len(c.pages)*pageBlocks:
		c.pages = append(c.pages, new(calendarPage))
		fallthrough
	default:
		c.fresh++
		i = c.fresh
	}
	b := c.at(i)
	b.n, b.next = 0, next
	return i
}

// first returns the slot whose notes are due first, and its first tick; ok is false if there are no notes.
func (c *calendar) first() (level int, slot, start uint32, ok bool) {
	// A slot of many ticks that base is in has notes left that are to move to finer ones.
	for level = calendarLevels - 1; level > 0; level-- {
		if slot = c.base >> (level * slotDigits) % calendarSlots; c.occupied[level]>>slot&1 != 0 {
			return level, slot, c.base, true
		}
	}
	for level = range c.occupied {
		if c.occupied[level] != 0 {
			slot = uint32(bits.TrailingZeros64(c.occupied[level]))
			above := (level + 1) * slotDigits
			return level, slot, c.base>>above<<above | slot<<(level*slotDigits), true
		}
	}
	return 0, 0, 0, false
}

// take removes the notes that are due by this time, in Unix milliseconds, or later in the same tick, and appends their
// hashes to dst. It takes at most so many steps, each of which takes or moves a note; more is true if there may be more.
func (c *calendar) take(dst []uint64, now uint64, steps int) (due []uint64, more bool) {
	if c == nil {
		return dst, false
	}
	last := c.tick(now)
	for range steps {
		level, slot, start, ok := c.first()
		if !ok || start > last {
			return dst, false
		}
		c.base = start
		hash, tick := c.remove(level, slot)
		if level > 0 {
			c.put(hash, tick)
			continue
		}
		dst = append(dst, hash)
		if c.n--; c.n == 0 {
			c.pages, c.fresh, c.free = nil, 0, 0
		}
	}
	return dst, true
}

// remove takes a note out of a slot that has some.
func (c *calendar) remove(level int, slot uint32) (hash uint64, tick uint32) {
	first := &c.slots[level][slot]
	i := *first
	b := c.at(i)
	if b.n == blockNotes && b.next != 0 {
		atomic.LoadUint32(&c.at(b.next).n) // begins to load the next block; a plain load of what is not used would be left out
	}
	b.n--
	hash, tick = b.hashes[b.n], b.ticks[b.n]
	if b.n > 0 {
		return hash, tick
	}
	if *first = b.next; *first == 0 {
		c.occupied[level] &^= 1 << slot
	}
	b.next, c.free = c.free, i
	return hash, tick
}

// each calls f for every note, in any order.
func (c *calendar) each(f func(hash uint64, tick uint32)) {
	if c == nil {
		return
	}
	for level := range c.slots {
		for _, i := range c.slots[level] {
			for ; i != 0; i = c.at(i).next {
				b := c.at(i)
				for j := range b.n {
					f(b.hashes[j], b.ticks[j])
				}
			}
		}
	}
}
