package store

import (
	"errors"
	"sync"
	"sync/atomic"

	"kv/store/table"
)

// A cache that is full lets go what was not asked for lately: see table/evict.go. What goes is deleted as by anybody:
// the journal is told, and whoever has read it before sees it gone.
//
// A write that was refused memory has others evicted and begins again, until it has its memory or there is nothing left
// to evict. What it lacks is one of two things. Room for a small entry is best found in the shard that it is to be in:
// what that frees can be used at once by one of the same size. Room for a large value is a part of the limit, which
// only a large value gives back as it goes, whatever its shard. If neither helps, since sizes have changed and free
// memory is scattered, all shards let go of a part, and what is left of thin memory is brought together.

const (
	// nearEvictions is how often one write has its own shards, or some, let go before all do.
	nearEvictions = 4
	// mostVictims is how many keys go from a near shard at a time, so that not every write has to look for some, but
	// not more than a part of what there is, victimShare.
	mostVictims = 16
	victimShare = 32
	// turnShare is the part of a shard's keys that go at most for a large value, so that the hand does not go round in
	// a shard for what that does not have.
	turnShare = 8
	// When all shards let go, so much goes: a part of what is in use, evictShare, but at least leastEvicted bytes.
	evictShare   = 32
	leastEvicted = 256 << 10
)

// eviction is what makes a cache let go.
type eviction struct {
	// far is held by the one that has all shards let go; everybody else who is short of memory waits for that.
	far sync.Mutex
	// times is how often all shards have let go; stored by who holds far, and publishes nothing.
	times atomic.Uint64
	// turn is which shard was the last that let go for a large value of another shard; it publishes nothing.
	turn atomic.Uint32
}

// shortage is a write's want of memory.
type shortage struct {
	demand
	near  int    // how often it has had near shards let go
	times uint64 // how often all shards had let go when it was refused
	last  bool   // nothing more could go
}

// victim is a key that is to go.
type victim struct {
	hash uint64
	e    *Entry // its deletion
	only uint64 // the version that is to go
	what tally  // goes with it
}

// tally is what has gone, or is to go.
type tally struct {
	keys int
	demand
}

func (t *tally) add(o tally) {
	t.keys += o.keys
	t.demand.add(o.demand)
}

// evict lets go keys for a write that was refused, whose keys are in the shards of home, and reports whether it may do
// better now. It is called without locks.
func (s *Store) evict(home table.ShardSet, short *shortage) bool {
	if short.bytes > s.budget.limit/2 {
		return false
	}
	if s.held() >= heldLong {
		return false // what goes could not be used
	}
	if short.near < nearEvictions {
		short.near++
		var gone tally
		if short.large > 0 {
			gone.add(s.evictLarge(home, short))
		}
		if short.large == 0 || short.near > 1 { // else it is most likely the large one that there is no room for
			gone.add(s.evictAt(home, short.bytes-short.large))
		}
		if gone.keys > 0 {
			return true
		}
	}
	return s.evictEverywhere(short)
}

// evictLarge lets go keys for large values: of the write's own shards, so that each shard keeps its share, and then of
// one after the other, as many bytes of large values as are wanted, unless that costs twice as many in all.
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

// evictAt lets go keys of each of these shards for small entries of so many bytes in all.
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

// evictEverywhere lets go keys of all shards, and brings together what is left, unless others have done so since the
// write was refused. It reports whether the write may do better now.
func (s *Store) evictEverywhere(short *shortage) bool {
	v := &s.eviction
	v.far.Lock()
	defer v.far.Unlock()
	if times := v.times.Load(); short.times != times {
		short.times = times
		return true
	}
	over := s.budget.used.Load() - s.budget.ceiling() // what bringing memory together has taken
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

// evictFrom lets go keys of a shard as long as more, of those that were picked, says so, and returns those that went.
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

// commitEvicted is commitOne, again for as long as the journal has not admitted it.
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
