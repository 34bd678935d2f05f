package table

import (
	"kv/store/arena"
)

// count books a change in the number of keys of the segment of h.
func (sh *Shard) count(h uint64, change int32) {
	d := sh.table.directory(sh.root().Load())
	*sh.table.segment(d.word(d.index(h)).Load()).count() += change
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

// span returns which words of the directory show g, the segment of h.
func (d directory) span(g segment, h uint64) (first, n int) {
	n = 1 << (d.depth() - *g.depth())
	return d.index(h) &^ (n - 1), n
}

// resize gives g, the segment of h, another number of lines. If there is no memory for more it asks less often.
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

// split parts g, the segment of h, in two by the next bit of the hash. If there is no memory, or that bit does not part
// them, since the keys' hashes are alike, it only asks less often.
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

// copy puts the references of g into other segments, each into the one that of returns for its key's hash, and reports
// whether there was memory for it. What g's lines say of deletions goes to every line that their keys may go to. Nobody
// sees these segments yet.
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
			in, at := sh.room(to.of(h), must)
			if in.p == nil {
				ok = false
				return
			}
			in.fill(at, h, ref)
			if was.marked(place) {
				in.mark(at)
			}
			*to.count()++
		})
	}
	return ok
}

// gather is copy into one segment that has no more lines than g. A line's number is the lowest bits of its keys' hashes,
// so those of the fewer lines follow from it: no key is looked at, which is a miss of the processor's caches for each.
func (sh *Shard) gather(g, to segment, must bool) (ok bool) {
	t := sh.table
	ok = true
	for i := range g.lines {
		first, into := g.line(i), to.line(i&(to.lines-1))
		raise(into, first.removal())
		t.each(first, func(was line, place int, ref arena.Ref) {
			in, at := sh.room(into, must)
			if in.p == nil {
				ok = false
				return
			}
			in.ref(at).Store(uint32(ref))
			in.setTag(at, was.tag(place))
			if was.marked(place) {
				in.mark(at)
			}
			*to.count()++
		})
	}
	return ok
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

// abandon poisons a segment that the directory does not show any more, and retires it with its overflow lines. See I6.
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

// freeSegments frees segments that were never shown, with their overflow lines; those that could not be made are skipped.
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
