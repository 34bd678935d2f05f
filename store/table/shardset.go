package table

import "math/bits"

// ShardSet is a set of shards.
type ShardSet uint64

// Add adds a shard.
func (s *ShardSet) Add(i int) { *s |= 1 << i }

// Has reports whether the shard is in the set.
func (s ShardSet) Has(i int) bool { return s&(1<<i) != 0 }

// Len returns how many there are.
func (s ShardSet) Len() int { return bits.OnesCount64(uint64(s)) }

// LockAll locks the shards of the set, in rising order, as everyone does who locks several.
func (t *Table) LockAll(s ShardSet) {
	for i := range t.shards {
		if s.Has(i) {
			t.shards[i].mu.Lock()
		}
	}
}

// UnlockAll unlocks them.
func (t *Table) UnlockAll(s ShardSet) {
	for i := range t.shards {
		if s.Has(i) {
			t.shards[i].mu.Unlock()
		}
	}
}
