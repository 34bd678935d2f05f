package arena

import (
	"math/bits"
	"sync"
)

// pages is the heap of pages: which are free, and which chunks are memory at all.
//
// A run of pages is taken from the first chunk, by address, that is memory and has it; so the chunks at the end become empty rather
// than all of them thin. Only when none has it, the system is asked for another.
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
	free     [chunkPages / 64]uint64 // a bit for each page that nobody has
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
	for i := range p.chunks {
		p.chunks[i] = chunk{free: [...]uint64{^uint64(0), ^uint64(0)}, nfree: chunkPages, longest: chunkPages}
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
	if !ok {
		k := (n + chunkPages - 1) / chunkPages
		first, found := p.empty(k)
		if !found || !p.populate(first, k, must) {
			return 0, false
		}
		at = first * chunkPages
	}
	p.mark(at, n, false)
	p.used += n
	return uint32(at), true
}

// find returns the first of n pages in a row of a chunk that offers them.
func (p *pages) find(n int) (page int, ok bool) {
	if n > chunkPages {
		return 0, false
	}
	for g, room := range p.room {
		if int(room) < n {
			continue
		}
		for i := g * groupSize; ; i++ {
			if c := &p.chunks[i]; int(c.offers()) >= n {
				return i*chunkPages + c.run(n), true
			}
		}
	}
	return 0, false
}

// empty returns the first of k chunks in a row in which nobody has a page.
func (p *pages) empty(k int) (first int, ok bool) {
	i := 1
	if k == 1 && p.resident == p.top {
		i = p.top // none below is empty and offers nothing
	}
	for row := 0; i < len(p.chunks); i++ {
		if c := &p.chunks[i]; c.leaving || c.nfree < chunkPages {
			row = 0
			continue
		}
		if row++; row == k {
			return i + 1 - k, true
		}
	}
	return 0, false
}

// populate makes memory of those of k chunks that are none.
func (p *pages) populate(first, k int, must bool) bool {
	fresh := 0
	for i := first; i < first+k; i++ {
		if !p.chunks[i].resident {
			fresh++
		}
	}
	if b := p.arena.budget; b != nil && fresh > 0 && !b.Take(int64(fresh)*ChunkSize, must) {
		return false
	}
	for i := first; i < first+k; i++ {
		if p.chunks[i].resident {
			continue
		}
		if err := p.arena.memory.commit(uint64(i)*ChunkSize, ChunkSize); err != nil {
			if b := p.arena.budget; b != nil {
				b.Give(int64(fresh) * ChunkSize)
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
		i, at := page/chunkPages, page%chunkPages
		here := min(n, chunkPages-at)
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
	for at := 0; at < chunkPages; {
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
	for at+n < chunkPages {
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
	for at+n < chunkPages {
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
