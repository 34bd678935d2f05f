package arena

import "slices"

const (
	// Compacting is worth its while when objects take less than fullEnough of what is resident, and that is not next to
	// nothing: each class needs a span of its own.
	fullEnough = 0.87
	leastToTry = 1 << 20
	// A chunk is emptied only if objects take less than this part of it.
	thinEnough = 0.75
	// spareChunks are kept when chunks are given back, so that the next write needs no system call; and one in spareShare.
	spareChunks = 1
	spareShare  = 64
)

// BeginCompact picks chunks that hold little and lets nothing new in, until [Arena.EndCompact]. most is how many bytes
// of objects may lie in them together. It returns how many do: what the owners have to copy out of them, object by
// object for which Leaving is true, after each heap was flushed. It returns 0 if that is not worth it.
func (a *Arena) BeginCompact(most int64) (leaving int64) {
	if leaving = a.pick(most); leaving > 0 {
		a.trim(func(page uint32) bool { return a.leaving[int(page)/a.per].Load() })
	}
	return leaving
}

// pick marks the chunks.
func (a *Arena) pick(most int64) (leaving int64) {
	type candidate struct {
		chunk int
		live  int64
	}
	var all []candidate
	a.pages.mu.Lock()
	defer a.pages.mu.Unlock()
	live := int64(0)
	for i := range a.pages.top {
		if c := &a.pages.chunks[i]; c.resident && !c.leaving {
			n := a.live[i].Load()
			live += n
			if n > 0 && float64(n) < thinEnough*float64(a.chunk) && i > 0 { // the first chunk can't become empty
				all = append(all, candidate{i, n})
			}
		}
	}
	resident := int64(a.pages.resident) * a.chunk
	if float64(live) >= fullEnough*float64(resident) || a.pages.resident <= 2 || resident < leastToTry {
		return 0
	}
	slices.SortFunc(all, func(x, y candidate) int { return int(x.live - y.live) })
	// Those that stay have to have room for what leaves, some of it in spans of other classes.
	room := int64(a.pages.resident)*a.chunk - live
	for _, x := range all {
		room -= a.chunk - x.live
		if leaving+x.live > min(most, room/2) {
			break
		}
		leaving += x.live
		a.pages.chunks[x.chunk].leaving = true
		a.leaving[x.chunk].Store(true)
		a.pages.offer(x.chunk)
	}
	return leaving
}

// trim gives back the pages of the spans without objects that lists keep, as far as these are to go.
func (a *Arena) trim(goes func(page uint32) bool) {
	for i := range a.sets {
		for class := range a.sets[i].lists {
			l := &a.sets[i].lists[class]
			l.mu.Lock()
			if page := l.first; page != 0 && goes(page) && a.spans[page].nfree == a.classes.shape[class].objects {
				l.remove(a, page, &a.spans[page])
				a.giveIfEmpty(page, &a.spans[page])
			}
			l.mu.Unlock()
		}
	}
}

// Leaving reports whether the object lies in a chunk that is to become empty.
func (a *Arena) Leaving(r Ref) bool {
	first := a.chunkOf(r)
	if a.leaving[first].Load() {
		return true
	}
	page := a.pageOf(r)
	if s := &a.spans[page]; s.back == 0 && a.classAt[page] == classLarge {
		for i := first + 1; i <= (int(page)+int(s.size)-1)/a.per; i++ {
			if a.leaving[i].Load() {
				return true
			}
		}
	}
	return false
}

// EndCompact lets new objects into the chunks that did not become empty, and returns how many bytes did.
func (a *Arena) EndCompact() (emptied int64) {
	a.pages.mu.Lock()
	defer a.pages.mu.Unlock()
	for i := range a.pages.top {
		c := &a.pages.chunks[i]
		if !c.leaving {
			continue
		}
		if int(c.nfree) == a.per {
			emptied += a.chunk
		}
		c.leaving = false
		a.leaving[i].Store(false)
		a.pages.offer(i)
	}
	return emptied
}

// Scavenge gives chunks that are empty back to the system, and returns how many bytes. If spare is set it leaves a few,
// and the spans without objects that lists keep.
func (a *Arena) Scavenge(spare bool) (given int64) {
	if !spare {
		a.trim(func(uint32) bool { return true })
	}
	p := &a.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := 0
	if spare {
		kept = spareChunks + p.resident/spareShare
	}
	for i := range p.top {
		c := &p.chunks[i]
		if !c.resident || int(c.nfree) < a.per {
			continue
		}
		if kept > 0 {
			kept--
			continue
		}
		if !a.memory.discard(uint64(int64(i)*a.chunk), uint64(a.chunk)) {
			return given
		}
		c.resident = false
		p.resident--
		p.offer(i)
		given += a.chunk
	}
	if a.budget != nil && given > 0 {
		a.budget.Give(given)
	}
	return given
}
