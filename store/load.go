package store

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// How a store is filled from its journal.
//
// The first part of what a journal gives is one state: many entries, of nearly as many keys, and nobody reads yet. To
// insert them one by one would copy each bucket once for each of its keys. So they are only collected, hashed and
// parted by shard. Once all are there each shard is built in one go: it is known how many segments it needs, the
// entries are sorted by bucket, and each bucket is allocated once, at the size that it keeps.
//
// What follows, the writes since that state was taken, is applied one by one.

// loader fills a store.
type loader struct {
	s      *Store
	shards [shardCount]loadedShard
	build  func() // builds all shards, once
}

// loadedShard is what is to be built into a shard.
type loadedShard struct {
	// mu guards the rest until all is collected; then the shard's builder has it alone.
	mu      sync.Mutex
	entries []loaded
	// What the entries amount to if each is the only one of its key.
	figures effect
	// plain: that may be so, none is a deletion and no history is kept.
	plain   bool
	newest  uint64 // the highest version
	soonest uint64 // the first expiry
}

// loaded is an entry and its key's hash: all that is needed to sort it in without another look at the entry, which by
// then has left the processor's caches.
type loaded struct {
	hash  uint64
	entry *Entry
}

// newLoader makes a loader of s, which is empty, for about so many entries of the state.
func newLoader(s *Store, expect int64) *loader {
	l := &loader{s: s}
	l.build = sync.OnceFunc(l.buildAll)
	share := expect / shardCount
	share += share / 32 // chance gives some shards more
	for i := range l.shards {
		p := &l.shards[i]
		p.entries = make([]loaded, 0, share)
		p.plain = s.keep == 0
		p.soonest = noExpiry
	}
	return l
}

// loadChunk is how many entries are parted by shard at a time: enough for a few in each, and all in the processor's caches.
const loadChunk = 2048

// load takes entries of the state, in no order. It may be called side by side, but not any more once apply was.
func (l *loader) load(entries []*Entry) {
	for chunk := range slices.Chunk(entries, loadChunk) {
		l.part(chunk)
	}
}

// part gives each shard its entries.
func (l *loader) part(entries []*Entry) {
	var hashes [loadChunk]uint64
	var end [shardCount]int
	for i, e := range entries {
		hashes[i] = l.s.hash(e.Key())
		end[shardOf(hashes[i])]++
	}
	begins(end[:])
	var order [loadChunk]uint16 // by shard
	for i := range entries {
		at := &end[shardOf(hashes[i])]
		order[*at] = uint16(i)
		*at++
	}
	begin := 0
	for i := range end {
		if begin < end[i] {
			l.shards[i].add(entries, &hashes, order[begin:end[i]])
		}
		begin = end[i]
	}
}

// begins turns counts into where each begins, if they stand one behind the other. Counting up from there while they are
// put in their places makes of it where each ends.
func begins[T int | uint32](counts []T) {
	var sum T
	for i, n := range counts {
		counts[i] = sum
		sum += n
	}
}

// add takes those of the entries that are the shard's. They are looked at here, while they are in the processor's caches.
func (p *loadedShard) add(entries []*Entry, hashes *[loadChunk]uint64, own []uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range own {
		e := entries[i]
		p.entries = append(p.entries, loaded{hashes[i], e})
		p.figures.add(swap(nil, e))
		p.plain = p.plain && !e.Deleted()
		p.newest = max(p.newest, e.version)
		if at := e.Expiry(); at != 0 {
			p.soonest = min(p.soonest, at)
		}
	}
}

// apply takes what was written after the state that load was given, entries of one key in order. It may be called side by
// side for different keys.
func (l *loader) apply(entries []*Entry) {
	l.build()
	for _, e := range entries {
		h := l.s.hash(e.Key())
		sh := &l.s.shards[shardOf(h)]
		sh.mu.Lock()
		l.s.replay(sh, h, e)
		sh.mu.Unlock()
	}
}

// buildAll builds the shards, on all processors.
func (l *loader) buildAll() {
	var next atomic.Int32 // hands out the shards
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			b := builder{s: l.s}
			for i := int(next.Add(1)) - 1; i < shardCount; i = int(next.Add(1)) - 1 {
				if len(l.shards[i].entries) > 0 {
					b.shard(i, &l.shards[i])
				}
				l.shards[i].entries = nil
			}
		})
	}
	wg.Wait()
}

// builder builds shards, one after the other; it keeps its memory for the next.
type builder struct {
	s      *Store
	sorted []loaded
	end    []uint32 // where the entries of each bucket end in sorted
}

// shard makes shard i, which is empty, what p says.
func (b *builder) shard(i int, p *loadedShard) {
	sh := &b.s.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	figures := p.figures
	figures.memory -= sh.dir.Load().emptyMemory()
	d := sh.init(depthFor(len(p.entries)))
	figures.memory += d.emptyMemory()
	sh.soonest.Store(p.soonest)

	b.sort(p.entries, d)
	begin := uint32(0)
	for i := range d.segments {
		g := d.segments[i].Load()
		g.soonest.Store(p.soonest)
		for j := range g.slots {
			end := b.end[i<<slotBits|j]
			if begin == end {
				continue
			}
			part := b.sorted[begin:end]
			begin = end
			var next *bucket
			if p.plain && distinct(part) {
				next = bucketOfAll(part, p.newest)
			} else {
				var eff effect
				next, eff = b.s.fold(part)
				figures.add(eff)
			}
			figures.memory += bucketMemory(next)
			g.slots[j].p.Store(next)
			g.count += next.load()
		}
	}
	sh.account(figures)
	b.s.budget.used.Add(figures.memory) // whatever the limit says: a full store must start again

	// A segment may have got far more than its share.
	for h := uint64(i) << (64 - shardBits); ; {
		b.s.splitWhileFull(sh, h)
		if h = sh.dir.Load().segment(h).last(h) + 1; shardOf(h) != i {
			break
		}
	}
}

// sort sorts entries by bucket. Counted first, each moves once.
func (b *builder) sort(entries []loaded, d *directory) {
	bucket := func(h uint64) uint64 { return d.index(h)<<slotBits | uint64(slotOf(h)) }
	b.end = slices.Grow(b.end[:0], len(d.segments)<<slotBits)[:len(d.segments)<<slotBits]
	clear(b.end)
	for _, x := range entries {
		b.end[bucket(x.hash)]++
	}
	begins(b.end)
	b.sorted = slices.Grow(b.sorted[:0], len(entries))[:len(entries)]
	for _, x := range entries {
		at := &b.end[bucket(x.hash)]
		b.sorted[*at] = x
		*at++
	}
}

// distinct reports whether all hashes, and so all keys, are different.
func distinct(part []loaded) bool {
	for i, x := range part {
		for _, y := range part[:i] {
			if x.hash == y.hash {
				return false
			}
		}
	}
	return true
}

// bucketOfAll returns a bucket that has all of part.
func bucketOfAll(part []loaded, version uint64) *bucket {
	if len(part) > bucketWidth {
		d := draft{version: version, entries: make([]*Entry, 0, len(part)), tags: make([]uint8, 0, len(part))}
		for _, x := range part {
			d.add(x.entry, tagOf(x.hash))
		}
		return d.build()
	}
	b := allocBucket(len(part))
	b.meta = version<<versionShift | uint64(len(part))
	entries := b.inline()
	for i, x := range part {
		entries[i] = x.entry
		b.tags |= uint64(tagOf(x.hash)) << (8 * i)
	}
	return b
}

// fold returns the bucket that part leaves, in which a key may have several versions, and what the figures change by, in
// which each entry of part counts as if it were the only one of its key.
func (s *Store) fold(part []loaded) (b *bucket, eff effect) {
	slices.SortFunc(part, func(x, y loaded) int { return cmp.Compare(x.entry.version, y.entry.version) })
	for _, x := range part {
		var e effect
		b, e = s.replayed(b, tagOf(x.hash), x.entry)
		eff.add(e)
		eff.sub(swap(nil, x.entry))
	}
	return b, eff
}

// replay puts e, as a journal holds it, into its bucket in sh, which is locked.
func (s *Store) replay(sh *shard, h uint64, e *Entry) {
	g := sh.dir.Load().segment(h)
	at := &g.slots[slotOf(h)].p
	b := at.Load()
	next, eff := s.replayed(b, tagOf(h), e)
	if next == b {
		return
	}
	eff.memory += bucketMemory(next) - bucketMemory(b)
	s.budget.used.Add(eff.memory) // whatever the limit says: a full store must start again
	at.Store(next)
	sh.account(eff)
	g.count += next.load() - b.load()
	s.noteExpiry(sh, g, e.Expiry())
	s.splitWhileFull(sh, h)
}

// replayed returns the bucket that b becomes by e, and the effect but for the buckets' own memory; b itself if that has
// something newer.
func (s *Store) replayed(b *bucket, tag uint8, e *Entry) (next *bucket, eff effect) {
	i, cur := b.find(tag, e.Key())
	newest := versionOf(cur)
	if chains := b.chains(); len(chains) > 0 {
		if i := chainOf(chains, e.Key()); i >= 0 {
			newest = max(newest, chains[i][0].version)
		}
	}
	if e.version <= newest || cur == nil && e.Deleted() {
		return b, effect{}
	}
	switch {
	case s.keep > 0 || b.ext() != nil:
		d := draftOf(b)
		eff = d.set(e, tag, b, s.keep)
		next = d.build()
	case e.Deleted():
		eff = swap(cur, e)
		next = b.withoutEntry(i)
	default:
		eff = swap(cur, e)
		next = b.withEntry(i, e, tag)
	}
	next.setVersion(max(b.version(), e.version))
	return next, eff
}
