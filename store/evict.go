package store

import (
	"errors"

	"kv/store/table"
)

// A cache that is full lets go what was not asked for lately: see table/evict.go. What goes is deleted as by anybody: the journal is told, and whoever has
// read it before sees it gone.

const (
	// mostEvictions is how often one write has others evicted, and nearEvictions how often from its own shards alone: what they free can be
	// used at once by a write of the same size. Then all shards let go of a part, evictShare, and thin memory is brought together.
	mostEvictions = 12
	nearEvictions = 4
	evictShare    = 32
	// mostVictims is how many keys go from a near shard at a time, so that not every write has to look for some, but not more than a part
	// of what there is, victimShare; leastEvicted is how many bytes go where all shards let go.
	mostVictims  = 16
	victimShare  = 32
	leastEvicted = 256 << 10
	// mostRounds is how often all shards let go for one write, at most, until the limit is kept again.
	mostRounds = 4
)

// victim is a key that is to go.
type victim struct {
	hash uint64
	e    *Entry // its deletion
	only uint64 // the version that is to go
}

// evict lets go keys for a write that wants so many bytes, and has begun in vain so many times, and reports whether any went. It is called
// without locks.
func (s *Store) evict(home table.ShardSet, wanted int64, times int) bool {
	if wanted > s.budget.limit/2 {
		return false
	}
	if times < nearEvictions {
		return s.evictAll(home, wanted, false)
	}
	gone := false
	for range mostRounds {
		over := s.budget.used.Load() - (s.budget.limit - s.budget.reserve) // what bringing memory together has taken
		if gone && over <= 0 {
			break
		}
		gone = s.evictAll(allShards, max(2*wanted, s.inUse()/evictShare, leastEvicted, 2*over)/shardCount, true) || gone
		s.tidy(true)
	}
	return gone
}

// evictAll lets go keys of each shard in a set, with so many bytes at least, and reports whether any went.
func (s *Store) evictAll(set table.ShardSet, each int64, far bool) (gone bool) {
	for i := range s.shards {
		if set.Has(i) {
			gone = s.evictFrom(&s.shards[i], each, far) || gone
		}
	}
	return gone
}

// evictFrom lets go keys of a shard, with so many bytes at least, and reports whether any went. far says that others let go, too.
func (s *Store) evictFrom(sh *shard, bytes int64, far bool) bool {
	var victims []victim
	sh.Lock()
	least := 0
	if !far {
		least = int(min(sh.keys/victimShare+1, mostVictims))
	}
	sh.Victims(func(e Found) bool {
		if !e.Deleted() {
			victims = append(victims, victim{s.hash(e.Key()), newTombstone(e.Key()), e.Version()})
			bytes -= int64(len(e.Key()) + e.Len() + entryExtra)
		}
		return bytes > 0 || len(victims) < least
	})
	sh.Unlock()
	gone := false
	for _, v := range victims {
		_, err := s.commitOne(&change{hash: v.hash, entry: v.e, only: v.only})
		switch {
		case err == nil:
			gone = true
			s.evicted.Add(1)
		case !errors.Is(err, errNothing):
			return gone // the store takes no writes now
		}
	}
	sh.Lock()
	sh.Drain()
	sh.Unlock()
	return gone
}
