package arena

import "unsafe"

// Heap is what one owner allocates and frees with. It has no lock of its own; the owner has one. An object is freed by a heap of
// the same set that it was allocated by; simplest, by the same heap.
type Heap struct {
	arena     *Arena
	set       uint8
	magazines []*magazine // by class; nil: never used
	used      int64
}

// magazine has free objects of one class at hand: those that were freed last go out first.
type magazine struct {
	n    int
	refs [magazineSize]Ref
}

// Heap returns a new heap. Heaps with the same number modulo Options.Sets share their lists.
func (a *Arena) Heap(number int) *Heap {
	return &Heap{arena: a, set: uint8(number % len(a.sets)), magazines: make([]*magazine, len(a.classes.sizes))}
}

// Alloc returns an object of at least n bytes, whose content is undefined, and reports whether there was memory for it.
func (h *Heap) Alloc(n int) (r Ref, ok bool) { return h.alloc(n, false) }

// MustAlloc is Alloc past the budget, for what can't be refused; it fails only if the range is used up.
func (h *Heap) MustAlloc(n int) (r Ref, ok bool) { return h.alloc(n, true) }

// Next returns the address of the object that the next Alloc of n bytes will return, for a prefetch; 0 if it has none at
// hand.
func (h *Heap) Next(n int) uintptr {
	if n > maxSmall {
		return 0
	}
	m := h.magazines[h.arena.classes.of(n)]
	if m == nil || m.n == 0 {
		return 0
	}
	return uintptr(h.arena.At(m.refs[m.n-1]))
}

func (h *Heap) alloc(n int, must bool) (r Ref, ok bool) {
	if n > maxSmall {
		return h.allocLarge(n, must)
	}
	a := h.arena
	class := a.classes.of(n)
	m := h.magazines[class]
	switch {
	case m != nil && m.n > 0:
	case a.classes.shape[class].magazine == 0:
		var one [1]Ref
		if a.refill(one[:], h.set, class, must) == 0 {
			return 0, false
		}
		h.used += int64(a.classes.sizes[class])
		return one[0], true
	default:
		if m == nil {
			m = new(magazine)
			h.magazines[class] = m
		}
		// Half of what it can hold, so that neither allocating nor freeing comes back at once.
		m.n = a.refill(m.refs[:max(a.classes.shape[class].magazine/2, 1)], h.set, class, must)
		if m.n == 0 {
			return 0, false
		}
		m.reverse()
	}
	m.n--
	h.used += int64(a.classes.sizes[class])
	return m.refs[m.n], true
}

// reverse lets the objects go out in the order of their addresses.
func (m *magazine) reverse() {
	for i, j := 0, m.n-1; i < j; i, j = i+1, j-1 {
		m.refs[i], m.refs[j] = m.refs[j], m.refs[i]
	}
}

func (h *Heap) allocLarge(n int, must bool) (r Ref, ok bool) {
	a := h.arena
	count := (n + pageSize - 1) / pageSize
	page, ok := a.pages.take(count, must)
	if !ok {
		return 0, false
	}
	a.spans[page] = span{set: h.set, size: uint32(count)}
	a.classAt[page] = classLarge
	a.countLarge(page, count, 1)
	h.used += int64(count) * pageSize
	return a.ref(uint64(page) << pageShift), true
}

// countLarge adds a large object's pages to what lives in its chunks, or with sign -1 takes them off.
func (a *Arena) countLarge(page uint32, count int, sign int64) {
	for at := int(page); count > 0; {
		here := min(count, a.per-at%a.per)
		a.live[at/a.per].Add(sign * int64(here) * pageSize)
		at, count = at+here, count-here
	}
}

// Free gives the object back.
func (h *Heap) Free(r Ref) {
	a := h.arena
	page := a.pageOf(r)
	class := a.classAt[page]
	if class == classLarge {
		count := int(a.spans[page].size)
		if a.poison {
			poison(a.At(r), count*pageSize)
		}
		a.countLarge(page, count, -1)
		h.used -= int64(count) * pageSize
		a.pages.give(page, count)
		return
	}
	size := int(a.classes.sizes[class])
	if a.poison {
		poison(a.At(r), size)
	}
	h.used -= int64(size)
	most := int(a.classes.shape[class].magazine)
	if most == 0 || a.leaving[a.chunkOf(r)].Load() {
		a.putBack([]Ref{r}, h.set, class)
		return
	}
	m := h.magazines[class]
	if m == nil {
		m = new(magazine)
		h.magazines[class] = m
	}
	if m.n == most {
		// The older half goes: what was freed last is still in the processor's cache.
		a.putBack(m.refs[:most/2], h.set, class)
		m.n = copy(m.refs[:], m.refs[most/2:most])
	}
	m.refs[m.n] = r
	m.n++
}

// Flush gives back what the heap has at hand: before the owner rests for long, and before it empties chunks.
func (h *Heap) Flush() {
	for class, m := range h.magazines {
		if m != nil && m.n > 0 {
			h.arena.putBack(m.refs[:m.n], h.set, uint8(class))
			m.n = 0
		}
	}
}

// Used returns the bytes of the objects that the owner has.
func (h *Heap) Used() int64 { return h.used }

// SizeOf returns how many bytes the object takes.
func (a *Arena) SizeOf(r Ref) int {
	page := a.pageOf(r)
	if class := a.classAt[page]; class != classLarge {
		return int(a.classes.sizes[class])
	}
	return int(a.spans[page].size) * pageSize
}

// poison fills n bytes with what is no valid header, length or reference.
func poison(p unsafe.Pointer, n int) {
	b := unsafe.Slice((*byte)(p), n)
	for i := range b {
		b[i] = 0xde
	}
}
