package store

import (
	"kv/store/arena"
	"kv/store/table"
)

// maxSmall is the largest object that Go's allocator rounds up to a size class; above, it rounds up to pages.
const (
	maxSmall = 32 << 10
	pageSize = 8 << 10
)

// classes maps (n+7)/8 to the bytes that the allocator takes for an object of n bytes without pointers, learned from the
// allocator itself: append grows a slice to all of its class.
var classes = func() (t [maxSmall/8 + 1]uint16) {
	class := 0
	for i := range t {
		if n := i * 8; n > class {
			class = cap(append([]byte(nil), make([]byte, n)...))
		}
		t[i] = uint16(class)
	}
	return t
}()

// allocated returns the memory that an object of n bytes takes.
func allocated(n int) int64 {
	if n <= maxSmall-8 {
		return int64(classes[(n+7)/8])
	}
	return int64(n+pageSize-1) &^ (pageSize - 1)
}

// entryMemory returns the memory that an Entry takes whose key and value have so many bytes.
func entryMemory(key, value int) int64 { return allocated(entryHeader + expirySize + key + value) }

// memoryFor returns the arena's options for a limit in bytes. Under a small limit memory is taken in small chunks, and all
// shards share the spans of each class. With the race detector freed memory is overwritten.
func memoryFor(limit int64) arena.Options {
	o := arena.Options{Range: rangeFor(limit), Poison: raceEnabled}
	if limit > 0 && limit < 64<<20 {
		o.Chunk, o.Sets = 64<<10, 1
	}
	return o
}

// rangeFor returns how many bytes of addresses an arena reserves for a limit: somewhat more than the limit, for what can't be
// refused. Fragments count within the limit.
func rangeFor(limit int64) int64 {
	const most = 64 << 30
	if limit == 0 {
		return most
	}
	return min(limit+limit/4+64<<20, arena.MaxRange)
}

// refuses reports whether the large values of a write would be refused for want of memory, with nothing to give up for
// them. The write then fails before the values are copied: the copies of many refused writes would take more memory than
// the collector has room for. A value that is no longer than the one it replaces is never refused.
func (s *Store) refuses(pairs []Pair) bool {
	if s.evicts || s.keeps {
		return false
	}
	all := int64(0)
	for _, p := range pairs {
		if table.IsLarge(len(p.Value)) {
			all += entryMemory(len(p.Key), len(p.Value))
		}
	}
	if all == 0 || s.budget.has(all) {
		return false
	}
	all = 0
	for _, p := range pairs {
		if n := len(p.Value); table.IsLarge(n) && !s.holds(p.Key, n) {
			all += entryMemory(len(p.Key), n)
		}
	}
	return all > 0 && !s.budget.has(all) && (s.replica != nil || !s.roomy(all))
}

// holds reports whether key has a value of n bytes or more, so that a write of n bytes in its place is not refused: see
// mustFit.
func (s *Store) holds(key []byte, n int) bool {
	if s.replica != nil {
		return false // a proposal is beside what it replaces until it is applied
	}
	h := s.hash(key)
	sh := s.shardOf(h)
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	e := p.Entry()
	return e.Exists() && !e.Deleted() && n <= e.Len()
}

// hopeless reports whether n more bytes would not fit even if all history were given up. It leaves a sixteenth of the limit
// for fragments, but where history has as much as is asked for: who deletes a key of a full store can set another.
func (s *Store) hopeless(n int64) bool {
	limit := s.budget.most()
	if limit == 0 {
		return false
	}
	past := s.pastBytes()
	need := s.inUse() - past + n
	return need > limit || need > limit-limit/16 && past < n
}

// pastBytes returns how many bytes history takes.
func (s *Store) pastBytes() (n int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.Lock()
		_, bytes := sh.Kept()
		sh.Unlock()
		n += bytes
	}
	return n
}

// inUse returns how many bytes are in use, without fragments and without what waits to be freed.
func (s *Store) inUse() int64 {
	f := s.table.Figures()
	return f.Used - f.Limbo
}
