package store

import "hash/maphash"

// How the 64 bits of a key's hash are spent, from the top. No bit has two uses, so that what shares a bucket differs in
// its tag, and what a segment splits by says nothing about the buckets within it.
//
//	63      58 57        directory: up to maxDepth bits         14 13    6 5     0
//	+---------+---------------------------------------------------+------+-------+
//	| shard   | which segment                                     | tag  | slot  |
//	+---------+---------------------------------------------------+------+-------+
const (
	shardBits = 6
	slotBits  = 6
	tagBits   = 8
	maxDepth  = 24

	shardCount = 1 << shardBits
	slotCount  = 1 << slotBits
)

// hash returns the key's hash under the store's own seed: nobody outside can choose keys that collide.
func (s *Store) hash(key []byte) uint64 {
	return maphash.Bytes(s.seed, key) & s.hashMask
}

func shardOf(h uint64) int { return int(h >> (64 - shardBits)) }
func slotOf(h uint64) int  { return int(h & (slotCount - 1)) }
func tagOf(h uint64) uint8 { return uint8(h >> slotBits) }
