package arena

import (
	"math/bits"
	"sync"
)

// pages is the heap of pages: which are free, and which chunks are memory at all.
//
// A run of pages is taken from the first chunk, by address, that is memory and has it; so the chunks at the end become
// empty rather than all of them thin. Only when none has it, the system is asked for another.
type pages struct {
	arena *Arena

	mu     sync.Mutex // guards the rest
	chunks []chunk
	// room is, for each group of groupSize chunks, the longest run of free pages that one of them offers.
	room     []uint8
	top      int // no chunk from here on has ever been used
	resident int // chunks that are memory
	used     int // pages that somebody has
}

// groupSize is how many chunks are looked at, or passed over, together.
const groupSize = 64

// chunk is the state of one chunk.
type chunk struct {
	free     [mostPages / 64]uint64 // a bit for each page that nobody has
	nfree    uint8
	longest  uint8 // run of free pages
	resident bool  // it is memory
	leaving  bool  // nothing new is put in it
}

// offers is the longest run of pages that may be taken without asking the system.
func (c *chunk) offers() uint8 {
	if !c.resident || c.leaving {
		return 0
	}
	return c.longest
}

func (p *pages) init(a *Arena, n int) {
	p.arena = a
	p.chunks = make([]chunk, n)
	p.room = make([]uint8, (n+groupSize-1)/groupSize)
	var empty chunk
	for i := range a.per {
		empty.free[i/64] |= 1 << (i % 64)
	}
	empty.measure()
	for i := range p.chunks {
		p.chunks[i] = empty
	}
	// The first page is nobody's, so that Ref 0 is no object.
	p.mark(0, 1, false)
}

// take returns the first of n pages in a row. If there are none, the system and the budget are asked for memory; if must is
// set the budget can't refuse.
func (p *pages) take(n int, must bool) (page uint32, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.top == 0 && !p.populate(0, 1, must) { // it lacks a page, and so is never among the empty ones
		return 0, false
	}
	at, ok := p.find(n)
	for _, fresh := range []bool{false, true} {
		if !ok {
			at, ok = p.across(n, fresh)
		}
	}
	if !ok || !p.populate(at/p.arena.per, (at+n-1)/p.arena.per-at/p.arena.per+1, must) {
		return 0, false
	}
	p.mark(at, n, false)
	p.used += n
	return uint32(at), true
}

// find returns the first of n pages in a row of a chunk that offers them.
func (p *pages) find(n int) (page int, ok bool) {
	if n > p.arena.per {
		return 0, false
	}
	for g, room := range p.room {
		if int(room) < n {
			continue
		}
		for i := g * groupSize; ; i++ {
			if c := &p.chunks[i]; int(c.offers()) >= n {
				return i*p.arena.per + c.run(n), true
			}
		}
	}
	return 0, false
}

// across returns the first of n pages in a row that may lie in several chunks, and, with fresh, in such as are no
// memory yet. It looks at every chunk, so it is for what is large, or for what is not found otherwise.
func (p *pages) across(n int, fresh bool) (page int, ok bool) {
	per := p.arena.per
	i := 0
	if fresh && n <= per && p.resident == p.top {
		i = max(p.top-1, 0) // all below is memory, and does not offer it
	}
	for first, row := 0, 0; i < len(p.chunks); i++ {
		c := &p.chunks[i]
		if c.leaving || !c.resident && !fresh {
			row = 0
			if i >= p.top && !fresh {
				return 0, false
			}
			continue
		}
		lead := c.ones(0)
		if row == 0 {
			first = i * per
		}
		if row += min(lead, per); row >= n {
			return first, true
		}
		if lead < per {
			row = c.tail(per)
			first = (i+1)*per - row
		}
	}
	return 0, false
}

// tail returns how many pages at the end of a chunk of so many are free, in a row.
func (c *chunk) tail(per int) (n int) {
	for n < per && c.free[(per-1-n)/64]>>((per-1-n)%64)&1 == 1 {
		n++
	}
	return n
}

// populate makes memory of those of k chunks that are none.
func (p *pages) populate(first, k int, must bool) bool {
	fresh := 0
	for i := first; i < first+k; i++ {
		if !p.chunks[i].resident {
			fresh++
		}
	}
	if b := p.arena.budget; b != nil && fresh > 0 && !b.Take(int64(fresh)*p.arena.chunk, must) {
		return false
	}
	for i := first; i < first+k; i++ {
		if p.chunks[i].resident {
			continue
		}
		if err := p.arena.memory.commit(uint64(int64(i)*p.arena.chunk), uint64(p.arena.chunk)); err != nil {
			if b := p.arena.budget; b != nil {
				b.Give(int64(fresh) * p.arena.chunk)
			}
			return false
		}
		fresh--
		p.chunks[i].resident = true
		p.resident++
	}
	p.top = max(p.top, first+k)
	return true
}

// give takes back n pages in a row.
func (p *pages) give(page uint32, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark(int(page), n, true)
	p.used -= n
}

// mark says of n pages in a row whether they are free.
func (p *pages) mark(page, n int, free bool) {
	for n > 0 {
		i, at := page/p.arena.per, page%p.arena.per
		here := min(n, p.arena.per-at)
		c := &p.chunks[i]
		for j := at; j < at+here; j++ {
			if free {
				c.free[j/64] |= 1 << (j % 64)
			} else {
				c.free[j/64] &^= 1 << (j % 64)
			}
		}
		c.measure()
		p.offer(i)
		page, n = page+here, n-here
	}
}

// offer brings the room of chunk i's group up to date.
func (p *pages) offer(i int) {
	g := i / groupSize
	room := uint8(0)
	for _, c := range p.chunks[g*groupSize : min((g+1)*groupSize, len(p.chunks))] {
		room = max(room, c.offers())
	}
	p.room[g] = room
}

// measure counts the chunk's free pages.
func (c *chunk) measure() {
	c.nfree = uint8(bits.OnesCount64(c.free[0]) + bits.OnesCount64(c.free[1]))
	c.longest = 0
	c.runs(func(at, n int) bool {
		c.longest = max(c.longest, uint8(n))
		return true
	})
}

// run returns where the first run of n free pages begins. There is one.
func (c *chunk) run(n int) (first int) {
	c.runs(func(at, long int) bool {
		first = at
		return long < n
	})
	return first
}

// runs calls f for each run of free pages, as long as f wants more.
func (c *chunk) runs(f func(at, n int) bool) {
	for at := 0; at < mostPages; {
		at += c.zeros(at)
		n := c.ones(at)
		if n == 0 || !f(at, n) {
			return
		}
		at += n
	}
}

// ones returns how many pages from at on are free, in a row.
func (c *chunk) ones(at int) (n int) {
	for at+n < mostPages {
		i := at + n
		k := bits.TrailingZeros64(^(c.free[i/64] >> (i % 64)))
		k = min(k, 64-i%64)
		n += k
		if (at+n)%64 != 0 || k == 0 {
			break
		}
	}
	return n
}

// zeros returns how many pages from at on are not free, in a row.
func (c *chunk) zeros(at int) (n int) {
	for at+n < mostPages {
		i := at + n
		k := bits.TrailingZeros64(c.free[i/64] >> (i % 64))
		k = min(k, 64-i%64)
		n += k
		if (at+n)%64 != 0 || k == 0 {
			break
		}
	}
	return n
}
