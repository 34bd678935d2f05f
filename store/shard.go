package store

import (
	"sync"
	"sync/atomic"
)

// shard is what a writer locks: the keys whose hashes share their top bits, with a directory of its own. Readers use only
// dir, which therefore has a cache line to itself.
type shard struct {
	// dir publishes a directory whose pointers are in place. Stored under mu.
	dir atomic.Pointer[directory]
	_   [56]byte

	// mu orders the writes to the shard's keys. Whoever needs several shards locks them in rising order.
	mu sync.Mutex
	// Guarded by mu: the figures of this shard, exact whenever mu is free.
	keys       int64
	valueBytes int64
	history    int64     // earlier versions and deletions that are kept
	expiring   int64     // keys that have an expiry
	due        *calendar // of what expires and grows too old; nil: nothing was ever noted
	newest     uint64    // the last version that was given to a write of its keys since the store was opened
	one        [1]*Entry // what a write of one key gives the journal; nil outside of one
}

// init gives the shard, which must not be in use, a directory of 1 << depth empty segments, and returns it.
func (sh *shard) init(depth uint8) *directory {
	d := newDirectory(depth)
	for i := range d.segments {
		d.segments[i].Store(newSegment(depth))
	}
	sh.dir.Store(d)
	sh.due = nil
	return d
}

// shardSet is a set of shards, one bit each.
type shardSet uint64

func (t *shardSet) add(h uint64) { *t |= 1 << shardOf(h) }

// lock locks the shards of t in rising order, so that no two can wait for each other.
func (s *Store) lock(t shardSet) {
	for i := range s.shards {
		if t>>i&1 != 0 {
			s.shards[i].mu.Lock()
		}
	}
}

func (s *Store) unlock(t shardSet) {
	for i := range s.shards {
		if t>>i&1 != 0 {
			s.shards[i].mu.Unlock()
		}
	}
}

const allShards = ^shardSet(0)
