package store

import "sync/atomic"

// splitAt is how many keys a segment holds before it is split: 6 a bucket, so that a bucket of 8 seldom overflows, and 3
// just after a split.
const splitAt = 6 * slotCount

// segment is the unit of growth: the keys whose hashes share a shard and the first depth directory bits, in slotCount
// buckets. A segment that is full is split in two, a bounded piece of work however large the store is. See Fagin et al.,
// "Extendible Hashing", TODS 1979, and Lu et al., "Dash", VLDB 2020, for the segments.
type segment struct {
	depth uint8 // fixed
	count int32 // keys and kept histories in it; guarded by the shard's lock
	limit int32 // it is split when count passes this; guarded by the shard's lock
	slots [slotCount]slot
}

func newSegment(depth uint8) *segment { return &segment{depth: depth, limit: splitAt} }

// depthFor returns the depth of the segments of a shard that has so many keys: so that a segment has room for a while, and
// chance fills hardly one.
func depthFor(keys int) (depth uint8) {
	for keys>>depth > 5*slotCount && depth < maxDepth {
		depth++
	}
	return depth
}

// directory maps the first 64 - shift hash bits below the shard's to a segment. Several neighbours share a segment that
// has fewer bits.
type directory struct {
	shift uint8
	// segments is replaced by one twice as long when it is too coarse; its pointers are stored under the shard's lock.
	// Each publishes a segment whose buckets are in place.
	segments []atomic.Pointer[segment]
}

func newDirectory(depth uint8) *directory {
	return &directory{shift: 64 - depth, segments: make([]atomic.Pointer[segment], 1<<depth)}
}

func (d *directory) depth() uint8 { return 64 - d.shift }

func (d *directory) index(h uint64) uint64 { return h << shardBits >> d.shift }

func (d *directory) segment(h uint64) *segment { return d.segments[d.index(h)].Load() }

// last returns the highest hash that belongs to the same segment, g, as h.
func (g *segment) last(h uint64) uint64 { return h | (1<<(64-shardBits-g.depth) - 1) }

// split makes two segments of the one that h belongs to, and returns what that changes. The shard's lock is held.
//
// The order matters. The new segments are complete before the directory shows them; only then are the old one's slots
// poisoned, and nothing is written to the new ones before the lock is released. So at every moment what can be loaded
// from either is current.
func (s *Store) split(sh *shard, h uint64) (grown effect) {
	d := sh.dir.Load()
	g := d.segment(h)
	bit := 63 - shardBits - g.depth
	halves := [2]*segment{newSegment(g.depth + 1), newSegment(g.depth + 1)}
	if g.depth == maxDepth || !s.divide(g, bit, halves) {
		g.limit *= 2 // the keys' hashes are all alike: growing would not part them
		return effect{}
	}
	if g.depth == d.depth() {
		twice := newDirectory(d.depth() + 1)
		for i := range d.segments {
			old := d.segments[i].Load()
			twice.segments[2*i].Store(old)
			twice.segments[2*i+1].Store(old)
		}
		grown.memory += directoryMemory(twice) - directoryMemory(d)
		d = twice
	}
	span := uint64(1) << (d.depth() - g.depth)
	first := d.index(h) &^ (span - 1)
	for i := range span {
		d.segments[first+i].Store(halves[i*2/span])
	}
	sh.dir.Store(d)
	grown.memory += segmentMemory
	for i := range g.slots {
		grown.add(replaced(g.slots[i].p.Swap(moved), halves[0].slots[i].p.Load()))
		grown.add(replaced(nil, halves[1].slots[i].p.Load()))
	}
	return grown
}

// divide copies the keys of g into halves, by one bit of their hashes, and reports whether each got some.
func (s *Store) divide(g *segment, bit uint8, halves [2]*segment) bool {
	for i := range g.slots {
		b := g.slots[i].p.Load()
		if b == nil {
			continue
		}
		// Each half gets a bucket even if it is empty: it carries the version of the last change.
		var parts [2]draft
		b.each(func(e *Entry, tag uint8) {
			side := s.hash(e.Key()) >> bit & 1
			parts[side].add(e, tag)
			halves[side].count++
		})
		for _, c := range b.chains() {
			side := s.hash(c[0].Key()) >> bit & 1
			parts[side].history = append(parts[side].history, c)
			halves[side].count++
		}
		for side := range parts {
			parts[side].version = b.version()
			halves[side].slots[i].p.Store(parts[side].build())
		}
	}
	return halves[0].count > 0 && halves[1].count > 0
}
