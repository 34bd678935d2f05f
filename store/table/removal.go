package table

import "sync/atomic"

// Removal tells when a key that is absent was removed last: by the version of the last deletion in its line, which
// readers wait for, and by that of the last in its slot, one of 64 of its shard, by bits of the hash that have no part
// in which line it is. A deletion of the key changes both; one of another key seldom does.
type Removal struct{ line, slot uint64 }

// Same reports whether b, of the same key and taken earlier or later, says that nothing removed the key between the
// two. It may say that something did though nothing has.
func (a Removal) Same(b Removal) bool { return a.line == b.line || a.slot == b.slot }

// Since returns a with a deletion by the write of this version besides, 0: none.
func (a Removal) Since(version uint64) Removal {
	return Removal{max(a.line, version), max(a.slot, version)}
}

// removalSlots is how many slots a shard has: all shards' take 32 KiB.
const removalSlots = 64

// slots are a shard's, each with the version of the last deletion of one of its keys. The holder of the shard's lock stores.
type slots [removalSlots]atomic.Uint64

func (s *slots) of(h uint64) *atomic.Uint64 { return &s[h>>lineBits%removalSlots] }

// removed notes that the write of this version removes the key whose hash is h, and whose line is first: before it does (I5).
func (sh *Shard) removed(first line, h, version uint64) {
	raise(first, version)
	if s := sh.slots.of(h); s.Load() < version {
		s.Store(version)
	}
}

// Removal returns when the key of p, which is absent, was removed last.
func (p *Place) Removal() Removal { return Removal{p.Version(), p.shard.slots.of(p.hash).Load()} }

// Removal returns when a key whose hash is h was removed last, if it is absent.
func (r *Reader) Removal(h uint64) Removal {
	return Removal{r.table.line(h).removal(), r.table.shards[ShardOf(h)].slots.of(h).Load()}
}
