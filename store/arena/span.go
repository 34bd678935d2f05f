package arena

import (
	"math/bits"
	"sync"
)

// span is the record of a page: of a run of pages that is cut into objects of one class, or of a large object, if the page is its
// first; of any other page of a span only back counts. Arena.classAt has its class. It is 64 bytes, a line.
type span struct {
	// free has a bit for each object that nobody has, neither an owner nor a magazine; guarded by the lock of the span's list,
	// as are next, prev, nfree and listed.
	free       [spanObjects / 64]uint64
	next, prev uint32 // neighbours in the list, as pages; 0: none
	nfree      uint16
	listed     bool

	// The shape: fixed while the span has objects.
	set  uint8
	back uint16 // how many pages behind the span's first page this one is
	size uint32 // of an object; of a large one in pages
	_    [12]byte
}

const (
	classLarge = ^uint8(0)
	maxSets    = 64
)

// set is one set of lists.
type set struct {
	lists []list // by class
}

// list has the spans of one class, and one set, that have free objects.
type list struct {
	mu    sync.Mutex // guards the rest and what the spans say is guarded by it
	first uint32     // a page; 0: none
	_     [52]byte   // another list's lock is on another line
}

// span returns the first page of the span that the page belongs to, and the span.
func (a *Arena) span(page uint32) (first uint32, s *span) {
	first = page - uint32(a.spans[page].back)
	return first, &a.spans[first]
}

// pageOf returns the page that the object begins in.
func (a *Arena) pageOf(r Ref) uint32 { return uint32(a.offset(r) >> pageShift) }

// chunkOf returns the chunk that the object begins in.
func (a *Arena) chunkOf(r Ref) int { return int(a.offset(r) / uint64(a.chunk)) }

// refill takes free objects of a class from the list, into to, as many as there is room for, and returns how many. There is
// none only if the memory for a new span was refused.
func (a *Arena) refill(to []Ref, setIndex, class uint8, must bool) (n int) {
	l := &a.sets[setIndex].lists[class]
	size := uint64(a.classes.sizes[class])
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(to) {
		page := l.first
		if page == 0 {
			if n > 0 {
				break // something was there: no need for more memory yet
			}
			if page = a.cut(l, setIndex, class, must); page == 0 {
				break
			}
		}
		s := &a.spans[page]
		chunk := int(page) / a.per
		if a.leaving[chunk].Load() {
			l.remove(a, page, s)
			a.giveIfEmpty(page, s)
			continue
		}
		base := uint64(page) << pageShift
		taken := n
		for i := 0; i < len(s.free) && n < len(to); {
			if s.free[i] == 0 {
				i++
				continue
			}
			bit := bits.TrailingZeros64(s.free[i])
			s.free[i] &= s.free[i] - 1
			to[n] = a.ref(base + uint64(i*64+bit)*size)
			n++
		}
		taken = n - taken
		s.nfree -= uint16(taken)
		a.live[chunk].Add(int64(taken) * int64(size))
		if s.nfree == 0 {
			l.remove(a, page, s)
		}
	}
	return n
}

// cut makes a new span for the list, whose lock is held, and returns its first page, 0 if there is no memory.
func (a *Arena) cut(l *list, setIndex, class uint8, must bool) uint32 {
	shape := &a.classes.shape[class]
	page, ok := a.pages.take(int(shape.pages), must)
	if !ok {
		return 0
	}
	for i := range shape.pages {
		a.spans[page+i] = span{back: uint16(i)}
		a.classAt[page+i] = class
	}
	s := &a.spans[page]
	s.set, s.size = setIndex, a.classes.sizes[class]
	s.nfree = shape.objects
	for i := range int(shape.objects) {
		s.free[i/64] |= 1 << (i % 64)
	}
	l.add(a, page, s)
	return page
}

// putBack makes objects of one class and set free.
func (a *Arena) putBack(refs []Ref, setIndex, class uint8) {
	l := &a.sets[setIndex].lists[class]
	shape := &a.classes.shape[class]
	size := int64(a.classes.sizes[class])
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range refs {
		page, s := a.span(a.pageOf(r))
		i := a.index(page, r, shape)
		if s.free[i/64]&(1<<(i%64)) != 0 {
			panic("arena: an object is freed twice")
		}
		s.free[i/64] |= 1 << (i % 64)
		s.nfree++
		chunk := int(page) / a.per
		a.live[chunk].Add(-size)
		leaving := a.leaving[chunk].Load()
		switch {
		case s.nfree == shape.objects && (leaving || !l.only(page, s)):
			if s.listed {
				l.remove(a, page, s)
			}
			a.giveIfEmpty(page, s)
		case !s.listed && !leaving:
			l.add(a, page, s)
		}
	}
}

// giveIfEmpty gives the pages of a span back that no list has and that has no objects.
func (a *Arena) giveIfEmpty(page uint32, s *span) {
	if shape := &a.classes.shape[a.classAt[page]]; s.nfree == shape.objects {
		a.pages.give(page, int(shape.pages))
	}
}

// index returns which object of the span that begins with page r is.
func (a *Arena) index(page uint32, r Ref, shape *shape) int {
	// Exact, since the distance is a multiple of the size, and below 2^32 / size.
	return int((a.offset(r) - uint64(page)<<pageShift) * uint64(shape.inverse) >> 32)
}

// only reports whether the list has this span and no other: one that is empty stays, so that an owner who allocates and frees
// in turn does not ask for pages each time.
func (l *list) only(page uint32, s *span) bool { return l.first == page && s.next == 0 }

func (l *list) add(a *Arena, page uint32, s *span) {
	s.listed, s.prev, s.next = true, 0, l.first
	if l.first != 0 {
		a.spans[l.first].prev = page
	}
	l.first = page
}

func (l *list) remove(a *Arena, page uint32, s *span) {
	if s.next != 0 {
		a.spans[s.next].prev = s.prev
	}
	if s.prev != 0 {
		a.spans[s.prev].next = s.next
	} else {
		l.first = s.next
	}
	s.listed, s.next, s.prev = false, 0, 0
}
