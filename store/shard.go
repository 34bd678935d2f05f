package store

import (
	"kv/store/table"
)

// shard is a shard of the table with what the store knows of its keys. Whoever needs several locks them in rising order.
type shard struct {
	*table.Shard // its lock guards the rest; the figures are exact whenever it is free
	keys         int64
	valueBytes   int64
	deletions    int64               // kept entries that stand for the deletion of their key
	expiring     int64               // keys that have an expiry
	due          *calendar           // of what expires and grows too old; nil: nothing was ever noted
	newest       uint64              // the last version that was given to a write of its keys since the store was opened
	erasures     map[string]erasure  // while a state is loaded; else nil
	ahead        map[string]proposal // what keys will be, in a store that proposes; nil: nothing is under way
	mostAhead    int                 // how many keys that has had since it was made
	one          [1]*Entry           // what a write of one key gives the journal; nil outside of one
}

const (
	shardCount = table.Shards
	shardBits  = 6
)

// history returns how many earlier versions and deletions are kept.
func (sh *shard) history() int64 {
	n, _ := sh.Kept()
	return n + sh.deletions
}

// hash returns the key's hash under the store's own seed: nobody outside can choose keys that collide.
func (s *Store) hash(key []byte) uint64 { return s.table.Hash(key) }

// shardOf returns the shard of a hash.
func (s *Store) shardOf(h uint64) *shard { return &s.shards[table.ShardOf(h)] }

// shardIndex returns which shard a key belongs to.
func (s *Store) shardIndex(key []byte) int { return table.ShardOf(s.hash(key)) }

// shardsOf returns the shards that keys belong to.
func (s *Store) shardsOf(keys [][]byte) (set table.ShardSet) {
	for _, k := range keys {
		set.Add(s.shardIndex(k))
	}
	return set
}

// allShards is the set of all of them.
const allShards = ^table.ShardSet(0)

// effect is what a write changes in the figures of a shard.
type effect struct {
	keys, valueBytes, deletions, expiring int64
}

func (a *effect) add(b effect) {
	a.keys += b.keys
	a.valueBytes += b.valueBytes
	a.deletions += b.deletions
	a.expiring += b.expiring
}

// account books the effect. sh is locked.
func (sh *shard) account(e effect) {
	sh.keys += e.keys
	sh.valueBytes += e.valueBytes
	sh.deletions += e.deletions
	sh.expiring += e.expiring
}

// counted is what an entry that is current counts for, times sign.
func counted(e table.Entry, sign int64) (eff effect) {
	switch {
	case !e.Exists():
	case e.Deleted():
		eff.deletions = sign
	default:
		eff.keys, eff.valueBytes = sign, sign*int64(e.Len())
		if e.Expiry() != 0 {
			eff.expiring = sign
		}
	}
	return eff
}
