package table

import (
	"slices"

	"kv/store/arena"
)

// Keys are in the order of their hashes, which nothing changes, and a segment has one contiguous range of hashes. So whoever
// reads one segment after the other, and goes on behind the last hash of each, meets every key that is there throughout
// exactly once, whatever grows meanwhile.

// last returns the highest hash of g, the segment of h.
func (g segment) last(h uint64) uint64 { return h | (1<<(64-shardBits-*g.depth()) - 1) }

// first returns the lowest.
func (g segment) first(h uint64) uint64 { return h &^ (1<<(64-shardBits-*g.depth()) - 1) }

// Range appends the entries of the segment of hash h whose hashes are h or above to dst, kept deletions too, and returns the
// segment's last hash. The entries are not of one instant, but each key that is there throughout is among them once. The
// reader is pinned.
func (r *Reader) Range(dst []Entry, h uint64) (entries []Entry, last uint64) {
	t := r.table
	begin := len(dst)
again:
	dst = dst[:begin]
	g := t.segment(t.word(h))
	all := g.first(h) == h
	g.warm(t)
	for i := range g.lines {
		first := g.line(i)
		at := len(dst)
		before := first.removal()
		for l, more := first, true; more; {
			last := arena.Ref(l.ref(lastPlace).Load())
			var next line
			next, more = t.overflow(last)
			for j := range places {
				ref := last
				if j < lastPlace {
					ref = arena.Ref(l.ref(j).Load())
				} else if more {
					break
				}
				if ref == refMoved {
					goto again
				}
				if ref == 0 {
					continue
				}
				e, version := t.resolve(ref)
				r.see(version)
				if e.Exists() && (all || t.hash(e.Key()) >= h) {
					r.see(e.Version())
					dst = append(dst, e)
				}
			}
			l = next
		}
		after := first.removal()
		r.see(after)
		if after != before { // a key may have been deleted, and set again in a later place
			dst = append(dst[:at], distinct(dst[at:])...)
		}
	}
	return dst, g.last(h)
}

// warm loads the headers of all objects of the segment, so that they are in the processor's caches. A loop that does nothing
// else is short enough for the processor to have as many cache misses under way as it can. The reader is pinned.
func (g segment) warm(t *Table) {
	const most = 512 // more than maxLines*places, and a mask
	var refs [most]arena.Ref
	n := 0
	for i := range g.lines {
		l := g.line(i)
		for j := range places { // without a branch on what the line has, which the processor could only guess
			ref := arena.Ref(l.ref(j).Load())
			refs[n&(most-1)] = ref
			if ref > refMoved {
				n++
			}
		}
	}
	for _, ref := range refs[:n&(most-1)] {
		headerAt(t.at(ref))
	}
}

// distinct leaves the first entry of each key.
func distinct(all []Entry) []Entry {
	kept := all[:0]
	for _, e := range all {
		if !slices.ContainsFunc(kept, func(k Entry) bool { return k.is(e.Key()) }) {
			kept = append(kept, e)
		}
	}
	return kept
}

// Segment calls f for every entry of the segment of hash h, and returns the segment's last hash. The shard is locked and has
// no transaction under way.
func (sh *Shard) Segment(h uint64, f func(Entry)) (last uint64) {
	t := sh.table
	g := t.segment(t.word(h))
	for i := range g.lines {
		t.each(g.line(i), func(_ line, _ int, ref arena.Ref) { f(t.entry(ref)) })
	}
	return g.last(h)
}

// Hash calls f for the place of every entry whose key has this hash. f may delete the key, or put another entry there. The
// shard is locked and has no transaction under way.
func (sh *Shard) Hash(h uint64, f func(Place)) {
	t := sh.table
	first := t.line(h)
	t.each(first, func(in line, at int, ref arena.Ref) {
		if in.tag(at) == tagOf(h) {
			if e := t.entry(ref); t.hash(e.Key()) == h {
				f(Place{shard: sh, hash: h, first: first, in: in, i: at, ref: ref, entry: e, size: t.arena.SizeOf(ref)})
			}
		}
	})
}

// segments calls f for every segment of the shard, with its first hash.
func (sh *Shard) segments(f func(g segment, h uint64)) {
	t := sh.table
	for h := uint64(sh.index) << (64 - shardBits); ; {
		g := t.segment(t.word(h))
		last := g.last(h)
		f(g, h)
		if last+1 == 0 || ShardOf(last+1) != sh.index {
			return
		}
		h = last + 1
	}
}
