package store

import "fmt"

// Check verifies the whole structure, with all writers held up, and returns the first thing that is wrong. It is for tests
// and for diagnosis: it takes time that grows with the store.
func (s *Store) Check() error {
	s.sweeping.Lock() // in the middle of a sweep, notes may be missing
	defer s.sweeping.Unlock()
	s.lock(allShards)
	defer s.unlock(allShards)
	var used, past int64
	for i := range s.shards {
		c := checker{s: s, shard: i}
		if err := c.check(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		used += c.memory
		past += c.past
	}
	if got := s.budget.used.Load(); got != used {
		return fmt.Errorf("memory is accounted as %d bytes, it is %d", got, used)
	}
	if got := s.budget.past.Load(); got != past {
		return fmt.Errorf("history's memory is accounted as %d bytes, it is %d", got, past)
	}
	return nil
}

// checker goes through one shard.
type checker struct {
	s      *Store
	shard  int
	first  uint64 // the first hash of the segment that is looked at
	figure effect
	memory int64
	past   int64 // the part of memory that history takes

	state *clockState
	noted map[uint64]uint32 // the first tick at which a hash is noted; nil: notes may be late, since the clock has changed
}

func (c *checker) check() error {
	sh := &c.s.shards[c.shard]
	d := sh.dir.Load()
	c.memory = directoryMemory(d) + sh.due.memory()
	c.notes(sh.due)
	for i := 0; i < len(d.segments); {
		g := d.segments[i].Load()
		if g.depth > d.depth() {
			return fmt.Errorf("segment at %d of depth %d in a directory of depth %d", i, g.depth, d.depth())
		}
		span := 1 << (d.depth() - g.depth)
		if i%span != 0 {
			return fmt.Errorf("segment of depth %d begins at %d", g.depth, i)
		}
		for j := range span {
			if d.segments[i+j].Load() != g {
				return fmt.Errorf("segment of depth %d at %d is not at %d", g.depth, i, i+j)
			}
		}
		c.first = uint64(c.shard)<<(64-shardBits) | uint64(i)<<1<<(63-shardBits-d.depth())
		if err := c.segment(g); err != nil {
			return fmt.Errorf("segment at %d: %w", i, err)
		}
		i += span
	}
	if c.figure.expiring != sh.expiring {
		return fmt.Errorf("counts %d keys that expire; there are %d", sh.expiring, c.figure.expiring)
	}
	if c.figure.keys != sh.keys || c.figure.valueBytes != sh.valueBytes || c.figure.history != sh.history {
		return fmt.Errorf("counts %d keys, %d value bytes and %d earlier versions; there are %d, %d and %d",
			sh.keys, sh.valueBytes, sh.history, c.figure.keys, c.figure.valueBytes, c.figure.history)
	}
	return nil
}

func (c *checker) segment(g *segment) error {
	c.memory += segmentMemory
	count := int32(0)
	for i := range g.slots {
		b := g.slots[i].p.Load()
		if b == nil {
			continue
		}
		if b.meta&(kindPending|kindMoved) != 0 {
			return fmt.Errorf("slot %d has a bucket of kind %#x", i, b.meta&0xf0)
		}
		count += b.load()
		c.memory += bucketMemory(b)
		c.past += chainsMemory(b)
		var err error
		b.each(func(e *Entry, tag uint8) {
			if err == nil && e.Expiry() != 0 {
				c.figure.expiring++
				err = c.due(e, c.state.due(e))
			}
			if err == nil {
				err = c.entry(g, i, b, e, tag)
			}
		})
		if err == nil {
			err = c.chains(g, i, b)
		}
		if err != nil {
			return fmt.Errorf("slot %d: %w", i, err)
		}
	}
	if count != g.count {
		return fmt.Errorf("counts %d, there are %d", g.count, count)
	}
	return nil
}

// notes takes in what is noted in d.
func (c *checker) notes(d *calendar) {
	c.state = c.s.clock.state.Load()
	if c.s.swept.reach(c.state) {
		return // the next sweep looks at all that is noted
	}
	c.noted = map[uint64]uint32{}
	d.each(func(hash uint64, tick uint32) {
		if old, ok := c.noted[hash]; !ok || tick < old {
			c.noted[hash] = tick
		}
	})
}

// due checks that it is noted when something of the key of e is due.
func (c *checker) due(e *Entry, at uint64) error {
	if c.noted == nil || at == never {
		return nil
	}
	tick, ok := c.noted[c.s.hash(e.Key())]
	if !ok {
		return fmt.Errorf("something is due at %d, and not noted", at)
	}
	late := c.s.shards[c.shard].due.tick(at)
	if len(c.state.past) > 0 {
		late++ // what reach lets pass
	}
	if tick > late {
		return fmt.Errorf("something is due at %d, in tick %d, and noted for tick %d", at, late, tick)
	}
	return nil
}

// place checks that e belongs into the slot, and is not newer than its bucket.
func (c *checker) place(g *segment, slot int, b *bucket, e *Entry) error {
	h := c.s.hash(e.Key())
	switch {
	case h < c.first || h > g.last(c.first) || slotOf(h) != slot:
		return fmt.Errorf("a key of hash %#x does not belong here", h)
	case e.version == 0 || e.version > b.version():
		return fmt.Errorf("an entry of version %d in a bucket of version %d", e.version, b.version())
	}
	c.memory += entryMemory(e)
	return nil
}

func (c *checker) entry(g *segment, slot int, b *bucket, e *Entry, tag uint8) error {
	c.figure.keys++
	c.figure.valueBytes += int64(e.Len())
	if want := tagOf(c.s.hash(e.Key())); tag != want {
		return fmt.Errorf("a key has the tag %#x, not %#x", tag, want)
	}
	if e.Deleted() {
		return fmt.Errorf("a deletion of version %d stands as a current entry", e.version)
	}
	if _, found := b.find(tag, e.Key()); found != e {
		return fmt.Errorf("a key is there twice, or can't be found")
	}
	return c.place(g, slot, b, e)
}

func (c *checker) chains(g *segment, slot int, b *bucket) error {
	for i, ch := range b.chains() {
		if len(ch) == 0 || chainOf(b.chains(), ch[0].Key()) != i {
			return fmt.Errorf("a key's history is empty, or there twice")
		}
		most := c.s.keep
		newer := ^uint64(0)
		_, e := b.find(tagOf(c.s.hash(ch[0].Key())), ch[0].Key())
		if c.s.age > 0 {
			if err := c.due(ch[0], c.s.tooOld(c.state, ch, e)); err != nil {
				return err
			}
		}
		if e != nil {
			newer = e.version
		} else if !ch[0].Deleted() {
			return fmt.Errorf("a deleted key's history does not begin with its deletion")
		} else {
			most++ // the deletion stands for the current entry
			if len(ch) == 1 {
				return fmt.Errorf("all that is kept of a deleted key is its deletion")
			}
		}
		if len(ch) > most {
			return fmt.Errorf("a key has %d earlier versions, more than %d", len(ch), most)
		}
		for _, e := range ch {
			if e.version >= newer || !e.is(ch[0].Key()) {
				return fmt.Errorf("a history has version %d behind %d, or another key's", e.version, newer)
			}
			newer = e.version
			c.figure.history++
			c.past += entryMemory(e)
			if err := c.place(g, slot, b, e); err != nil {
				return err
			}
		}
	}
	return nil
}
