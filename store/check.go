package store

import (
	"fmt"

	"kv/store/table"
)

// Check verifies the whole structure, with all writers held up, and returns the first thing that is wrong. It is for tests
// and for diagnosis: it takes time that grows with the store.
func (s *Store) Check() error {
	s.sweeper.mu.Lock() // in the middle of a sweep, notes may be missing
	defer s.sweeper.mu.Unlock()
	s.table.LockAll(allShards)
	defer s.table.UnlockAll(allShards)
	c := checker{s: s, state: s.clock.state.Load()}
	if err := s.table.Check(c.entry); err != nil {
		return err
	}
	if c.err != nil {
		return c.err
	}
	calendars, proposals := int64(0), int64(0)
	for i := range s.shards {
		sh := &s.shards[i]
		calendars += sh.due.memory()
		for _, p := range sh.ahead {
			proposals += p.bytes
		}
		got := effect{sh.keys, sh.valueBytes, sh.deletions, sh.expiring}
		if got != c.figures[i] {
			return fmt.Errorf("shard %d: counts %+v; there are %+v", i, got, c.figures[i])
		}
	}
	want := s.table.Resident() + s.table.Large() + calendars + proposals
	if got := s.budget.used.Load(); got != want {
		return fmt.Errorf("memory is accounted as %d bytes, it is %d", got, want)
	}
	return nil
}

type checker struct {
	s       *Store
	state   *clockState
	figures [shardCount]effect
	noted   [shardCount]map[uint64]uint32 // the first tick at which a hash is noted
	err     error
}

func (c *checker) entry(e Found) {
	s := c.s
	h := s.hash(e.Key())
	i := table.ShardOf(h)
	sh := &s.shards[i]
	c.figures[i].add(counted(e, 1))
	if e.Expiry() != 0 {
		c.due(i, h, c.state.due(e))
	}
	kept := 0
	p := sh.Find(h, e.Key())
	sh.Revisions(&p, func(Found) bool { kept++; return true })
	switch {
	case kept > s.HistoryDepth():
		c.fail("a key has %d earlier versions, more than %d", kept, s.HistoryDepth())
	case e.Deleted() && kept == 0:
		c.fail("all that is kept of a deleted key is its deletion")
	}
	if _, replacedBy, ok := sh.Oldest(e); ok && s.age.Load() > 0 {
		c.due(i, h, s.agesAt(c.state, replacedBy))
	}
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// due checks that it is noted when something of the keys with this hash is due.
func (c *checker) due(shard int, h, at uint64) {
	if c.s.sweeper.state.reach(c.state) || at == never {
		return // the next sweep looks at all that is noted
	}
	sh := &c.s.shards[shard]
	if c.noted[shard] == nil {
		noted := map[uint64]uint32{}
		sh.due.each(func(hash uint64, tick uint32) {
			if old, ok := noted[hash]; !ok || tick < old {
				noted[hash] = tick
			}
		})
		c.noted[shard] = noted
	}
	tick, ok := c.noted[shard][h]
	if !ok {
		c.fail("something is due at %d, and not noted", at)
		return
	}
	late := sh.due.tick(at)
	if len(c.state.past) > 0 {
		late++ // what reach lets pass
	}
	if tick > late {
		c.fail("something is due at %d, in tick %d, and noted for tick %d", at, late, tick)
	}
}
