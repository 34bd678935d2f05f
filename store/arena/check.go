package arena

import (
	"fmt"
	"iter"
)

// Check verifies the arena, in which nobody allocates meanwhile: each page is free or has one owner, each object is free once
// or owned once, and the figures agree. heaps are all heaps, and owned yields every object that their owners have, with the
// bytes that they asked for. It is for tests.
func (a *Arena) Check(heaps []*Heap, owned iter.Seq2[Ref, int]) error {
	taken := make(map[Ref]bool) // true: by an owner; false: by a magazine
	var used, live, want int64
	for r, n := range owned {
		if _, twice := taken[r]; twice {
			return fmt.Errorf("object %#x is owned twice", r)
		}
		taken[r] = true
		if size := a.SizeOf(r); size != a.Size(n) {
			return fmt.Errorf("object %#x has %d bytes, and %d were asked for", r, size, n)
		}
		used += int64(a.SizeOf(r))
	}
	for _, h := range heaps {
		want += h.used
		for class, m := range h.magazines {
			for i := 0; m != nil && i < m.n; i++ {
				r := m.refs[i]
				if owner, twice := taken[r]; twice {
					return fmt.Errorf("object %#x is in a magazine and elsewhere, with an owner: %t", r, owner)
				}
				taken[r] = false
				page, s := a.span(a.pageOf(r))
				if is := a.classAt[page]; is != uint8(class) || s.set != h.set {
					return fmt.Errorf("object %#x of class %d and set %d is in a magazine of %d and %d",
						r, is, s.set, class, h.set)
				}
			}
		}
	}
	if used != want {
		return fmt.Errorf("the heaps count %d bytes, their owners have %d", want, used)
	}
	for r := range taken {
		if !a.allocated(r) {
			return fmt.Errorf("object %#x is owned, and free all the same", r)
		}
		live += int64(a.SizeOf(r))
	}
	return a.checkPages(len(taken), live)
}

// allocated reports whether r is the beginning of an object that is not free.
func (a *Arena) allocated(r Ref) bool {
	page := int(a.pageOf(r))
	if a.pages.chunks[page/a.per].free[page%a.per/64]&(1<<(page%a.per%64)) != 0 {
		return false
	}
	first, s := a.span(uint32(page))
	class := a.classAt[page]
	if class == classLarge {
		return a.ref(uint64(first)<<pageShift) == r
	}
	shape := &a.classes.shape[class]
	i := a.index(first, r, shape)
	begins := a.ref(uint64(first)<<pageShift+uint64(i)*uint64(s.size)) == r
	return begins && i < int(shape.objects) && s.free[i/64]&(1<<(i%64)) == 0
}

// checkPages verifies the pages, and that they have so many objects, of so many bytes, that are not free.
func (a *Arena) checkPages(objects int, live int64) error {
	p := &a.pages
	listed, err := a.listed()
	if err != nil {
		return err
	}
	found, used, resident := 0, 0, 0
	for at := 1; at < p.top*a.per; {
		c := &p.chunks[at/a.per]
		if at%a.per == 0 || at == 1 {
			was := *c
			c.measure()
			if *c != was {
				return fmt.Errorf("chunk %d counts %d free pages, %d in a row; there are %d and %d",
					at/a.per, was.nfree, was.longest, c.nfree, c.longest)
			}
			if !c.resident && int(c.nfree) < a.per {
				return fmt.Errorf("chunk %d is in use and no memory", at/a.per)
			}
		}
		if c.free[at%a.per/64]&(1<<(at%a.per%64)) != 0 {
			at++
			continue
		}
		s := &a.spans[at]
		if s.back != 0 {
			return fmt.Errorf("page %d is in the middle of a span whose beginning is not there", at)
		}
		class := a.classAt[at]
		if class == classLarge {
			found++
			used += int(s.size)
			at += int(s.size)
			continue
		}
		shape := &a.classes.shape[class]
		for i := range int(shape.pages) {
			if is := a.classAt[at+i]; is != class {
				return fmt.Errorf("page %d is of class %d, the span that it belongs to of class %d", at+i, is, class)
			}
		}
		free := 0
		for i := range int(shape.objects) {
			if s.free[i/64]&(1<<(i%64)) != 0 {
				free++
			}
		}
		if free != int(s.nfree) || listed[uint32(at)] != s.listed || s.listed && free == 0 {
			return fmt.Errorf("the span of page %d counts %d free objects and is listed: %t; there are %d, and it is: %t",
				at, s.nfree, s.listed, free, listed[uint32(at)])
		}
		found += int(shape.objects) - free
		used += int(shape.pages)
		at += int(shape.pages)
	}
	for i := range p.chunks {
		if p.chunks[i].resident {
			resident++
		}
	}
	f := a.Figures()
	switch {
	case found != objects:
		return fmt.Errorf("%d objects are not free, and %d are owned or in a magazine", found, objects)
	case used != p.used || resident != p.resident:
		return fmt.Errorf("%d pages in use and %d chunks of memory are counted; there are %d and %d",
			p.used, p.resident, used, resident)
	case f.Live != live:
		return fmt.Errorf("%d bytes of objects are counted, there are %d", f.Live, live)
	}
	for g := range p.room {
		was := p.room[g]
		if p.offer(g * groupSize); p.room[g] != was {
			return fmt.Errorf("group %d offers %d pages in a row, and says %d", g, p.room[g], was)
		}
	}
	return nil
}

// listed returns the first pages of the spans that lists have.
func (a *Arena) listed() (map[uint32]bool, error) {
	all := make(map[uint32]bool)
	for i := range a.sets {
		for class := range a.sets[i].lists {
			prev := uint32(0)
			for page := a.sets[i].lists[class].first; page != 0; page = a.spans[page].next {
				s := &a.spans[page]
				if all[page] || s.prev != prev || int(a.classAt[page]) != class || int(s.set) != i {
					return nil, fmt.Errorf("the span of page %d is in a list twice, or in a wrong one", page)
				}
				all[page] = true
				prev = page
			}
		}
	}
	return all, nil
}
