package store

import (
	"errors"
	"sync"
	"sync/atomic"

	"kv/store/table"
)

// A cache that is full evicts keys that were not asked for lately: see table/evict.go. An eviction is a deletion like any
// other: it is in the journal, and readers see it.
//
// A write that was refused memory evicts other keys and begins again, until it has its memory or nothing is left to evict.
// A small entry finds room best in its own shard: what is freed there can be used at once by an entry of the same size. A
// large value needs a part of the limit, which only another large value gives back, in whatever shard. If neither helps,
// because sizes have changed and free memory is scattered, all shards evict some of their keys, and memory is compacted.

const (
	// nearEvictions is how often one write evicts from its own shards, or a few, before it evicts from all.
	nearEvictions = 4
	// mostVictims is how many keys a near shard evicts at a time, so that not every write has to look for some; but not more
	// than 1/victimShare of its keys.
	mostVictims = 16
	victimShare = 32
	// A shard evicts at most 1/turnShare of its keys for a large value: it may have no large values to evict.
	turnShare = 8
	// All shards together evict 1/evictShare of what is in use, but at least leastEvicted bytes.
	evictShare   = 32
	leastEvicted = 256 << 10
)

// eviction is what the evictions of a cache share.
type eviction struct {
	// far is held by the one write that evicts from all shards; every other write that is short of memory waits for it.
	far sync.Mutex
	// times is how often all shards have evicted. It is stored with far held, and publishes nothing.
	times atomic.Uint64
	// turn is the shard that evicted last for a large value of another shard. It publishes nothing.
	turn atomic.Uint32
}

// shortage is the memory that a write lacks, and what it has tried.
type shortage struct {
	demand
	near  int    // how often it has evicted from near shards
	times uint64 // eviction.times when it was refused
	last  bool   // the last time, nothing could be evicted
}

// victim is a key that is to be evicted.
type victim struct {
	hash uint64
	e    *Entry // its deletion
	only uint64 // the version that is to be evicted
	what tally  // what that frees
}

// tally is how many keys were evicted, or are to be, and what that frees.
type tally struct {
	keys int
	demand
}

func (t *tally) add(o tally) {
	t.keys += o.keys
	t.demand.add(o.demand)
}

// evict evicts keys for a write that was refused, and reports whether the write should be tried again. The write's keys are in
// the shards of home. No lock is held.
func (s *Store) evict(home table.ShardSet, short *shortage) bool {
	if short.bytes > s.budget.limit/2 {
		return false
	}
	if s.held() >= heldLong {
		return false // a reader holds memory: what is freed now could not be used
	}
	if short.near < nearEvictions {
		short.near++
		var gone tally
		if short.large > 0 {
			gone.add(s.evictLarge(home, short))
		}
		if short.large == 0 || short.near > 1 { // otherwise most likely only the large value lacks room
			gone.add(s.evictAt(home, short.bytes-short.large))
		}
		if gone.keys > 0 {
			return true
		}
	}
	return s.evictEverywhere(short)
}

// evictLarge evicts large values, as many bytes as are wanted, unless twice as many bytes in all go with them: first of the
// write's own shards, so that each shard keeps its share, then of one shard after the other.
func (s *Store) evictLarge(home table.ShardSet, short *shortage) (gone tally) {
	for i := range 2 * shardCount {
		switch {
		case gone.large >= short.large || gone.bytes >= 2*short.large:
			return gone
		case i >= shardCount:
			i = int(s.eviction.turn.Add(1) % shardCount)
		case !home.Has(i):
			continue
		}
		most := 0
		gone.add(s.evictFrom(&s.shards[i], func(sh *shard, picked tally) bool {
			most = max(most, int(sh.keys/turnShare)+1)
			return picked.keys < most && gone.large+picked.large < short.large && gone.bytes+picked.bytes < 2*short.large
		}))
	}
	return gone
}

// evictAt evicts keys of the shards of home, for small entries of so many bytes in all.
func (s *Store) evictAt(home table.ShardSet, bytes int64) (gone tally) {
	each := 2 * bytes / int64(max(home.Len(), 1))
	for i := range s.shards {
		if home.Has(i) {
			gone.add(s.evictFrom(&s.shards[i], func(sh *shard, picked tally) bool {
				return picked.bytes < each || picked.keys < int(min(sh.keys/victimShare+1, mostVictims))
			}))
		}
	}
	return gone
}

// evictEverywhere evicts keys of all shards and compacts memory, unless another write has done so since this one was
// refused. It reports whether the write should be tried again.
func (s *Store) evictEverywhere(short *shortage) bool {
	v := &s.eviction
	v.far.Lock()
	defer v.far.Unlock()
	if times := v.times.Load(); short.times != times {
		short.times = times
		return true
	}
	over := s.budget.used.Load() - s.budget.ceiling() // what compaction has taken
	before := s.inUse()
	each := max(2*short.bytes, before/evictShare, leastEvicted, 2*over) / shardCount
	var gone tally
	for i := range s.shards {
		gone.add(s.evictFrom(&s.shards[i], func(_ *shard, picked tally) bool { return picked.bytes < each }))
	}
	s.tidy(true)
	short.times = v.times.Add(1)
	more := gone.keys > 0 || s.inUse() < before // the table itself gets smaller, a step at a time
	again := more || !short.last
	short.last = !more
	return again
}

// evictFrom picks keys of a shard for as long as more, given the sum of those picked so far, returns true; it evicts them and
// returns the sum of those that were evicted.
func (s *Store) evictFrom(sh *shard, more func(sh *shard, picked tally) bool) (gone tally) {
	var victims []victim
	var picked tally
	sh.Lock()
	if more(sh, picked) {
		sh.Victims(func(e Found) bool {
			if !e.Deleted() {
				v := victim{s.hash(e.Key()), newTombstone(e.Key()), e.Version(), tally{1, demandOf(len(e.Key()), e.Len())}}
				victims = append(victims, v)
				picked.add(v.what)
			}
			return more(sh, picked)
		})
	}
	sh.Unlock()
	for i := range victims {
		v := &victims[i]
		err := s.commitEvicted(&change{hash: v.hash, entry: v.e, only: v.only})
		switch {
		case err == nil:
			gone.add(v.what)
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

// commitEvicted is commitOne, repeated until the journal admits it.
func (s *Store) commitEvicted(ch *change) error {
	for {
		_, err := s.commitOne(ch)
		if size, again := notAdmitted(err); !again {
			return err
		} else if err := s.admit(size); err != nil {
			return err
		}
	}
}
