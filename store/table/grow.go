package table

import (
	"kv/store/arena"
)

// count changes the number of keys of the segment of h.
func (sh *Shard) count(h uint64, change int32) {
	*sh.table.segment(sh.table.word(h)).count() += change
}

// grow is count, after which the segment grows if it has to.
func (sh *Shard) grow(h uint64, change int32) {
	if change != 0 {
		sh.count(h, change)
		sh.growWhileFull(h)
	}
}

// growWhileFull gives the segment of h more lines, or splits it, until it has room.
func (sh *Shard) growWhileFull(h uint64) {
	t := sh.table
	for {
		d := t.directory(sh.root().Load())
		g := t.segment(d.word(d.index(h)).Load())
		if *g.count() <= *g.limit() {
			return
		}
		if g.lines < maxLines {
			sh.resize(d, g, h, g.lines*2, t.loading)
		} else {
			sh.split(d, g, h)
		}
	}
}

// span returns the range of the directory's words that show g, the segment of h.
func (d directory) span(g segment, h uint64) (first, n int) {
	n = 1 << (d.depth() - *g.depth())
	return d.index(h) &^ (n - 1), n
}

// resize gives g, the segment of h, another number of lines. If there is no memory for more, the segment's limit is doubled,
// so that it is not tried again for a while.
func (sh *Shard) resize(d directory, g segment, h uint64, lines int, must bool) {
	to, ok := sh.newSegment(lines, *g.depth(), must)
	if ok && lines > g.lines {
		ok = sh.copy(g, must, func(uint64) segment { return to }, to)
	} else if ok {
		ok = sh.gather(g, to, must)
	}
	if !ok {
		sh.freeSegments(to)
		if lines > g.lines {
			*g.limit() *= 2
		}
		return
	}
	first, n := d.span(g, h)
	for i := first; i < first+n; i++ {
		d.word(i).Store(to.word(sh.table))
	}
	sh.abandon(g)
}

// split makes two segments of g, the segment of h, by the next bit of the hashes. If there is no memory, or that bit is the
// same in all of them, it only doubles the segment's limit.
func (sh *Shard) split(d directory, g segment, h uint64) {
	depth := *g.depth()
	if depth == maxDepth {
		*g.limit() *= 2
		return
	}
	var halves [2]segment
	ok := true
	for i := range halves {
		if ok {
			halves[i], ok = sh.newSegment(g.lines, depth+1, sh.table.loading)
		}
	}
	bit := 63 - shardBits - depth
	ok = ok && sh.copy(g, sh.table.loading, func(h uint64) segment { return halves[h>>bit&1] }, halves[:]...)
	ok = ok && *halves[0].count() > 0 && *halves[1].count() > 0
	twice := d
	if ok && depth == d.depth() {
		twice, ok = sh.newDirectory(depth+1, sh.table.loading)
	}
	if !ok {
		sh.freeSegments(halves[:]...)
		*g.limit() *= 2
		return
	}
	if twice.ref != d.ref {
		for i := range 1 << d.depth() {
			w := d.word(i).Load()
			twice.word(2 * i).Store(w)
			twice.word(2*i + 1).Store(w)
		}
	}
	first, n := twice.span(g, h)
	for i := range n {
		twice.word(first + i).Store(halves[i*2/n].word(sh.table))
	}
	if twice.ref != d.ref {
		sh.root().Store(twice.root(sh.table))
		sh.retire(d.ref)
	}
	sh.abandon(g)
}

// copy copies the references of g into other segments, each into the one that of returns for its key's hash, and reports
// whether there was memory for it. The version of a line's last deletion goes to every line that its keys may go to. Nobody
// sees the segments yet.
func (sh *Shard) copy(g segment, must bool, of func(h uint64) segment, all ...segment) (ok bool) {
	t := sh.table
	ok = true
	for i := range g.lines {
		first := g.line(i)
		for _, to := range all {
			for j := i & (to.lines - 1); j < to.lines; j += g.lines {
				raise(to.line(j), first.removal())
			}
		}
		t.each(first, func(was line, place int, ref arena.Ref) {
			h := t.hash(t.entry(ref).Key())
			to := of(h)
			ok = sh.copyPlace(was, place, ref, to, to.of(h), must) && ok
		})
	}
	return ok
}

// gather is copy into one segment that has no more lines than g. A line's number is the lowest bits of its keys' hashes, so
// the new number follows from the old one: no key need be looked at, which would be a cache miss for each.
func (sh *Shard) gather(g, to segment, must bool) (ok bool) {
	t := sh.table
	ok = true
	for i := range g.lines {
		first, into := g.line(i), to.line(i&(to.lines-1))
		raise(into, first.removal())
		t.each(first, func(was line, place int, ref arena.Ref) {
			ok = sh.copyPlace(was, place, ref, to, into, must) && ok
		})
	}
	return ok
}

// copyPlace puts the reference of a place, with its tag and mark, into a line of a segment that nobody sees yet, and reports
// whether there was memory for it.
func (sh *Shard) copyPlace(was line, place int, ref arena.Ref, to segment, into line, must bool) bool {
	in, at := sh.room(into, must)
	if in.p == nil {
		return false
	}
	in.ref(at).Store(uint32(ref))
	in.setTag(at, was.tag(place))
	if was.marked(place) {
		in.mark(at)
	}
	*to.count()++
	return true
}

// each calls f for every place of a line and of the overflow lines behind it that has an entry, or a switch. The shard is locked.
func (t *Table) each(l line, f func(in line, at int, ref arena.Ref)) {
	for {
		next, more := t.overflow(arena.Ref(l.ref(lastPlace).Load()))
		n := places
		if more {
			n--
		}
		for i := range n {
			if ref := arena.Ref(l.ref(i).Load()); ref > refMoved {
				f(l, i, ref)
			}
		}
		if !more {
			return
		}
		l = next
	}
}

// abandon overwrites the references of a segment that the directory does not show any more with refMoved, and retires it
// with its overflow lines. See I6.
func (sh *Shard) abandon(g segment) {
	t := sh.table
	for i := range g.lines {
		for l, more := g.line(i), true; more; {
			ref := arena.Ref(l.ref(lastPlace).Load())
			var next line
			next, more = t.overflow(ref)
			for j := range places {
				l.ref(j).Store(refMoved)
			}
			if more {
				sh.retire(ref)
			}
			l = next
		}
	}
	sh.retire(g.ref)
}

// freeSegments frees segments that no directory has shown, with their overflow lines. It skips those that could not be made.
func (sh *Shard) freeSegments(all ...segment) {
	t := sh.table
	for _, g := range all {
		if g.p == nil {
			continue
		}
		for i := range g.lines {
			ref := arena.Ref(g.line(i).ref(lastPlace).Load())
			for l, more := t.overflow(ref); more; l, more = t.overflow(ref) {
				next := arena.Ref(l.ref(lastPlace).Load())
				sh.heap.Free(ref)
				ref = next
			}
		}
		sh.heap.Free(g.ref)
	}
}
