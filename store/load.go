package store

import (
	"bytes"
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// How a store is filled from its journal.
//
// Nobody reads yet, and to insert entries one by one would copy each bucket once for each of its keys. So they are only
// collected, hashed and parted by shard, and a shard is built in one go: it is known how many segments it needs, the
// entries are sorted by bucket, and each bucket is allocated once, at the size that it keeps.
//
// The state that a journal begins with is collected whole. Of the writes since, which may be many to few keys, a shard
// collects a part of what it holds before it is built anew with them, so that what has been overwritten goes.

// loader fills a store.
type loader struct {
	s        *Store
	shards   [shardCount]loadedShard
	builders sync.Pool
}

// loadedShard is what is to be built into a shard.
type loadedShard struct {
	mu sync.Mutex // guards the rest, and is taken before the shard's

	entries   []loaded
	size      int64  // the memory that they take
	figures   effect // what the entries amount to if each is the only one of its key
	deletions bool   // there may be some among the entries
	newest    uint64 // the highest version, of what was built before too

	built int64 // the memory of what was built, about
}

// loaded is an entry and its key's hash: all that is needed to sort it in without another look at the entry, which by
// then has left the processor's caches.
type loaded struct {
	hash  uint64
	entry *Entry
}

// newLoader makes a loader of s, which is empty, for a state of about so many entries.
func newLoader(s *Store, expect int64) *loader {
	l := &loader{s: s, builders: sync.Pool{New: func() any { return &builder{s: s} }}}
	share := expect / shardCount
	share += share / 32 // chance gives some shards more
	for i := range l.shards {
		l.shards[i].entries = make([]loaded, 0, share)
	}
	return l
}

// load takes entries of the state. It may be called side by side.
func (l *loader) load(entries []*Entry) {
	for chunk := range slices.Chunk(entries, loadChunk) {
		l.part(chunk, false)
	}
}

// apply takes what was written since. It may be called side by side for different keys.
func (l *loader) apply(entries []*Entry) {
	for chunk := range slices.Chunk(entries, loadChunk) {
		l.part(chunk, true)
	}
}

// finish builds, on all processors, what is not built yet.
func (l *loader) finish() {
	var next atomic.Int32 // hands out the shards
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < shardCount; i = int(next.Add(1)) - 1 {
				p := &l.shards[i]
				p.mu.Lock()
				l.settle(i)
				p.entries = nil
				p.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// loadChunk is how many entries are parted by shard at a time: enough for a few in each, and all in the processor's caches.
const loadChunk = 2048

// part gives each shard its entries. If they are not of the state, shards with enough of them are built.
func (l *loader) part(entries []*Entry, since bool) {
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
			p := &l.shards[i]
			p.mu.Lock()
			// They are looked at here, while they are in the processor's caches.
			for _, j := range order[begin:end[i]] {
				if purge, all := entries[j].Purge(); purge && !all && l.s.keep == 0 {
					continue // there is no past; one of all is as a deletion
				}
				p.add(hashes[j], entries[j])
			}
			if since && p.size > l.room(p) {
				l.settle(i)
			}
			p.mu.Unlock()
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

// add takes an entry.
func (p *loadedShard) add(h uint64, e *Entry) {
	p.entries = append(p.entries, loaded{h, e})
	p.size += entryMemory(e) + int64(unsafe.Sizeof(loaded{}))
	p.figures.add(swap(nil, e))
	p.deletions = p.deletions || e.Deleted()
	p.newest = max(p.newest, e.version)
}

// room is how much memory the writes that p collects may take: no more than what is built takes, since all may have been
// overwritten, but not so little that building anew is most of the work.
func (l *loader) room(p *loadedShard) int64 {
	room := max(p.built, 1<<20)
	if limit := l.s.budget.limit; limit > 0 {
		room = max(min(room, limit/8/shardCount), 64<<10)
	}
	return room
}

// settle puts what is collected for shard i into it.
func (l *loader) settle(i int) {
	p := &l.shards[i]
	if len(p.entries) == 0 {
		return
	}
	sh := &l.s.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if int64(len(p.entries)) < sh.keys/8 {
		for _, x := range p.entries {
			l.s.replay(sh, x.hash, x.entry)
		}
	} else {
		b := l.builders.Get().(*builder)
		b.takeBack(sh, p)
		b.build(i, p)
		l.builders.Put(b)
	}
	p.entries, p.size, p.figures, p.deletions = p.entries[:0], 0, effect{}, false
}

// builder builds shards, one after the other; it keeps its memory for the next.
type builder struct {
	s      *Store
	sh     *shard // that is being built
	sorted []loaded
	end    []uint32 // where the entries of each bucket end in sorted
}

// takeBack makes what is built in sh a part of p. The shard counts nothing then, and is to be built anew.
func (b *builder) takeBack(sh *shard, p *loadedShard) {
	gone := effect{memory: directoryMemory(sh.dir.Load()) + sh.due.memory()}
	for _, g := range sh.segments() {
		gone.memory += segmentMemory
		for i := range g.slots {
			old := g.slots[i].p.Load()
			gone.add(replaced(nil, old))
			old.each(func(e *Entry, _ uint8) {
				gone.add(swap(nil, e))
				p.add(b.s.hash(e.Key()), e)
			})
			for _, c := range old.chains() {
				gone.add(kept(c, 1))
				for _, e := range c {
					p.add(b.s.hash(e.Key()), e)
				}
			}
		}
	}
	var after effect
	after.sub(gone)
	sh.account(after)
	b.s.book(after)
}

// build makes shard i, which is locked and counts nothing, what p says.
func (b *builder) build(i int, p *loadedShard) {
	sh := &b.s.shards[i]
	b.sh = sh
	d := sh.init(depthFor(len(p.entries)))
	figures := p.figures
	figures.memory += directoryMemory(d) + int64(len(d.segments))*segmentMemory

	b.sort(p.entries, d)
	begin := uint32(0)
	for i := range d.segments {
		g := d.segments[i].Load()
		for j := range g.slots {
			end := b.end[i<<slotBits|j]
			if begin == end {
				continue
			}
			next, eff := b.bucket(b.sorted[begin:end], p)
			begin = end
			eff.add(replaced(nil, next))
			figures.add(eff)
			g.slots[j].p.Store(next)
			g.count += next.load()
		}
	}
	sh.account(figures)
	b.s.book(figures) // whatever the limit says: a full store must start again
	p.built = figures.memory

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

// bucket returns the bucket that these entries of p leave, nil if nothing, and what p's figures change by, in which each
// entry counts as if it were the only one of its key.
func (b *builder) bucket(entries []loaded, p *loadedShard) (*bucket, effect) {
	if b.s.keep > 0 {
		return b.fold(entries)
	}
	kept, eff := newest(entries)
	if p.deletions {
		kept = slices.DeleteFunc(kept, func(x loaded) bool { return x.entry.Deleted() })
	}
	if p.figures.expiring > 0 {
		for _, x := range kept {
			b.note(x.hash, x.entry.Expiry())
		}
	}
	return bucketWith(kept, p.newest), eff
}

// newest keeps the newest entry of each key. The effect is that the others go.
func newest(entries []loaded) (kept []loaded, eff effect) {
	kept = entries[:0]
	for _, x := range entries {
		i := slices.IndexFunc(kept, func(y loaded) bool { return x.hash == y.hash && y.entry.is(x.entry.Key()) })
		if i < 0 {
			kept = append(kept, x)
			continue
		}
		if x.entry.version > kept[i].entry.version {
			x, kept[i] = kept[i], x
		}
		eff.sub(swap(nil, x.entry))
	}
	return kept, eff
}

// bucketWith returns a bucket of these entries; nil for none.
func bucketWith(entries []loaded, version uint64) *bucket {
	if len(entries) == 0 {
		return nil
	}
	if len(entries) > bucketWidth {
		d := draft{version: version, entries: make([]*Entry, 0, len(entries)), tags: make([]uint8, 0, len(entries))}
		for _, x := range entries {
			d.add(x.entry, tagOf(x.hash))
		}
		return d.build()
	}
	b := allocBucket(len(entries))
	b.meta = version<<versionShift | uint64(len(entries))
	inline := b.inline()
	for i, x := range entries {
		inline[i] = x.entry
		b.tags |= uint64(tagOf(x.hash)) << (8 * i)
	}
	return b
}

// fold is builder.bucket where history is kept.
func (b *builder) fold(entries []loaded) (made *bucket, eff effect) {
	slices.SortFunc(entries, func(x, y loaded) int {
		return cmp.Or(cmp.Compare(x.hash, y.hash), bytes.Compare(x.entry.Key(), y.entry.Key()),
			cmp.Compare(x.entry.version, y.entry.version))
	})
	var d draft
	for len(entries) > 0 {
		first := entries[0]
		n := 1
		for n < len(entries) && entries[n].hash == first.hash && entries[n].entry.is(first.entry.Key()) {
			n++
		}
		eff.add(b.foldKey(&d, entries[:n]))
		entries = entries[n:]
	}
	if d.version == 0 {
		return nil, eff
	}
	return d.build(), eff
}

// note notes that something of this hash is due at this time, in milliseconds; 0: nothing is.
func (b *builder) note(hash, at uint64) {
	if at != 0 && at != never {
		b.s.noteAt(b.sh, hash, at)
	}
}

// foldKey adds to d what is left of one key, whose entries come oldest first.
func (b *builder) foldKey(d *draft, entries []loaded) (eff effect) {
	all := make(chain, 0, len(entries)) // newest first
	var purged, nothing bool            // what is older was erased, but for the current version of then, or with it
	for _, x := range slices.Backward(entries) {
		eff.sub(swap(nil, x.entry))
		if purge, of := x.entry.Purge(); purge {
			purged, nothing = true, nothing || of
			continue
		}
		if n := len(all); nothing || n > 0 && all[n-1].version == x.entry.version {
			continue
		}
		if all = append(all, x.entry); purged {
			nothing = true
		}
	}
	d.version = max(d.version, entries[len(entries)-1].entry.version)
	all = all[:min(len(all), b.s.keep+1)]
	if len(all) == 0 {
		return eff
	}
	exists := !all[0].Deleted()
	past, hash := all, entries[0].hash
	var cur *Entry
	if exists {
		cur = all[0]
		d.add(cur, tagOf(hash))
		eff.add(swap(nil, cur))
		b.note(hash, cur.Expiry())
		past = all[1:]
	}
	now := b.s.clock.now()
	if past = slices.Clone(b.s.young(past, cur, now).worth(exists)); len(past) > 0 {
		d.history = append(d.history, past)
		eff.add(kept(past, 1))
		if b.s.age > 0 {
			b.note(hash, b.s.tooOld(now.state, past, cur))
		}
	}
	return eff
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
	eff.add(replaced(b, next))
	s.book(eff) // whatever the limit says: a full store must start again
	at.Store(next)
	sh.account(eff)
	g.count += next.load() - b.load()
	if _, cur := b.find(tagOf(h), e.Key()); s.notes(b, cur, e, s.keep) {
		s.note(sh, h)
	}
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
	purge, all := e.Purge()
	if e.version <= newest || !purge && cur == nil && e.Deleted() {
		return b, effect{}
	}
	switch {
	case purge:
		d := draftOf(b)
		_, eff = d.purge(e.Key(), tag, all)
		next = d.build()
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
