package table

import (
	"math"
	"time"

	"kv/store/arena"
)

// How memory is used again. What a write replaces or deletes is retired: put into the shard's limbo, until the epoch says
// that no reader can hold a reference to it any more; then it is freed. See package epoch.

const (
	// A shard asks for the epoch to move when it has retired 1/askShare of what it has, within these bounds in bytes. The
	// sooner memory is used again, the more likely it is still in the processor's caches; but to look at all readers takes
	// too long to do it with every write.
	askShare = 32
	leastAsk = 1 << 10
	mostAsk  = 2 << 10
	// Reclaim frees at most so many objects, and freePerRetired more for each that was retired since the last time: no write
	// pays for many that others have left, and objects are freed faster than they are retired.
	freeAtOnce     = 16
	freePerRetired = 2
)

// retire puts an object that readers can't find any more into limbo.
func (sh *Shard) retire(r arena.Ref) { sh.toLimbo(uint64(r), sh.table.arena.SizeOf(r)) }

// retireEntry is retire of an entry, whose object takes so many bytes, and of its large value.
func (sh *Shard) retireEntry(r arena.Ref, size int) {
	what := uint64(r)
	if e := sh.entry(r); e.large() != 0 {
		what |= wholeEntry
		size += int(e.largeSize())
	}
	sh.toLimbo(what, size)
}

// wholeEntry, in limbo, marks an entry that is to be freed with its large value.
const wholeEntry = 1 << 32

// toLimbo puts an object, or with wholeEntry an entry with its large value, into limbo; size is what all of it takes.
func (sh *Shard) toLimbo(what uint64, size int) {
	sh.limbo.Retire(what, sh.table.epochs.Now(), size)
	sh.retiredSince += size
	sh.retiredNow++
}

// limboSize returns the bytes that toLimbo was called with for this.
func (sh *Shard) limboSize(what uint64) int {
	n := sh.table.arena.SizeOf(arena.Ref(what))
	if what&wholeEntry != 0 {
		n += int(sh.entry(arena.Ref(what)).largeSize())
	}
	return n
}

// Reclaim frees some of what no reader can hold any more, and asks for the epoch to move if much was retired. The shard is
// locked. Every write calls it, at its begin or its end: see I9.
func (sh *Shard) Reclaim() {
	e := sh.table.epochs
	if sh.retiredSince > min(max(leastAsk, int(sh.heap.Used()/askShare)), mostAsk) {
		sh.retiredSince = 0
		e.Advance()
	}
	if n := sh.enough(); n > 0 && sh.limbo.Ready(e.Safe(), n) {
		sh.drain(e.Safe(), freeAtOnce+freePerRetired*sh.retiredNow)
	}
	sh.retiredNow = 0
}

// enough returns how many objects have to be ready before Reclaim frees any; 0: it frees none yet.
func (sh *Shard) enough() int {
	switch {
	case sh.limbo.Bytes() >= mostAsk:
		return 1
	case sh.limbo.Len() >= freeAtOnce:
		return freeAtOnce
	}
	return 0
}

// drain frees at most so many objects that were retired with an epoch below safe.
func (sh *Shard) drain(safe uint64, most int) {
	sh.limbo.Drain(safe, most, func(what uint64) int {
		n := sh.limboSize(what)
		if what&wholeEntry != 0 {
			sh.dropLarge(arena.Ref(what))
		}
		sh.heap.Free(arena.Ref(what))
		return n
	})
}

// Waiting returns how many bytes are in limbo. The shard is locked.
func (sh *Shard) Waiting() int64 { return sh.limbo.Bytes() }

// Drain frees everything in limbo that no reader can hold any more, for a shard that may see no write for long. The shard
// is locked.
func (sh *Shard) Drain() {
	if sh.limbo.Len() > 0 {
		sh.drain(sh.table.epochs.Hurry(), math.MaxInt)
	}
}

// WaitForReaders waits, at most for so long, until every reader that is pinned now has unpinned, and then frees everything
// in limbo that no reader can hold any more. It reports whether all had unpinned. The caller is not pinned and has no shard
// locked.
func (t *Table) WaitForReaders(most time.Duration) bool {
	all := t.epochs.WaitForReaders(most)
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		sh.drain(t.epochs.Safe(), math.MaxInt)
		sh.mu.Unlock()
	}
	return all
}
