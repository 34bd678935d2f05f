package store

// refs is how many keys are looked up side by side: about as many cache misses as a core keeps under way.
const refs = 16

// ref is a key on its way through the map.
type ref struct {
	hash    uint64
	segment *segment
	bucket  *bucket
}

// load returns what the slot of h in g resolves to, or moved.
func (g *segment) load(h uint64) *bucket { return g.slots[slotOf(h)].p.Load().resolve() }

// bucket returns the current bucket of h. It repeats itself only after a split that came between, so at most maxDepth
// times in a store's life.
func (s *Store) bucket(h uint64) *bucket {
	for {
		if b := s.shards[shardOf(h)].dir.Load().segment(h).load(h); b != moved {
			return b
		}
	}
}

// Get returns the entry of key, nil if it is absent. It takes no lock, writes no shared memory and does not allocate.
func (c *Session) Get(key []byte) *Entry {
	c.gets++
	s := c.store
	h := s.hash(key)
	// Nearly always the bucket is a plain one, the first entry with the key's tag is the key's, and it has not expired: see look.
	b := s.shards[shardOf(h)].dir.Load().segment(h).slots[slotOf(h)].p.Load()
	if b != nil && b.meta&(kindPending|kindMoved) == 0 {
		if e := b.likely(tagOf(h)); e != nil && e.is(key) && (e.klen&flagBit == 0 || !e.expiredAt(s.clock.now())) {
			c.see(b.version())
			return e
		}
	}
	e := c.look(h, key)
	if e == nil {
		c.misses++
	}
	return e
}

// peek is Get, uncounted.
func (c *Session) peek(key []byte) *Entry { return c.look(c.store.hash(key), key) }

// look is peek of a key whose hash is h.
func (c *Session) look(h uint64, key []byte) *Entry {
	s := c.store
	b := s.bucket(h)
	_, e := b.find(tagOf(h), key)
	// The clock is read after the entry was found. So one that has not expired had not when it was found; one that has is looked
	// for again: if it is still there, the key was absent when the clock was read. If another is there, it begins anew, which
	// takes a writer each time, and an expiry within this loop.
	for e != nil && s.expired(e) {
		was := e
		b = s.bucket(h)
		if _, e = b.find(tagOf(h), key); e == was {
			e = nil
		}
	}
	c.see(b.version())
	return e
}

// Warm pulls what Get and Set of these keys will touch into the processor's caches, each step for many keys at a time, so
// that their misses overlap. It changes nothing and counts nothing.
func (c *Session) Warm(keys [][]byte) {
	for len(keys) > 0 {
		n := min(len(keys), refs)
		c.warm(keys[:n])
		keys = keys[n:]
	}
}

func (c *Session) warm(keys [][]byte) {
	var r [refs]ref
	for i, k := range keys {
		h := c.store.hash(k)
		r[i].hash = h
		r[i].segment = c.store.shards[shardOf(h)].dir.Load().segment(h)
	}
	for i := range keys {
		r[i].bucket = r[i].segment.slots[slotOf(r[i].hash)].p.Load()
	}
	for i := range keys {
		if b := r[i].bucket; b != nil {
			if e := b.likely(tagOf(r[i].hash)); e != nil {
				c.warmed += e.klen
			}
		}
	}
}

// MGet appends the entries of keys to dst, nil for each that is absent. All were current together at one instant.
//
// It collects every bucket, then walks again from the directory. A slot's bucket never comes back once it is replaced, so
// if each is still the same, all were current at the moment between the walks. See "double collect" in Afek et al.,
// "Atomic Snapshots of Shared Memory", JACM 1993. If writers get in between too often, their locks are taken.
func (c *Session) MGet(dst []*Entry, keys [][]byte) []*Entry {
	c.gets += uint64(len(keys))
	var few [refs]ref
	r := few[:]
	if len(keys) > refs {
		r = make([]ref, len(keys))
	}
	r = r[:len(keys)]
	now := c.store.snapshot(r, keys)
	for i, k := range keys {
		c.see(r[i].bucket.version())
		_, e := r[i].bucket.find(tagOf(r[i].hash), k)
		if e != nil && e.expiredAt(now) {
			e = nil
		}
		if e == nil {
			c.misses++
		}
		dst = append(dst, e)
	}
	return dst
}

// snapshotTries is how often a snapshot is tried without locks.
const snapshotTries = 4

// snapshot fills r with the buckets of keys as they were together at one instant, and returns that.
func (s *Store) snapshot(r []ref, keys [][]byte) (now moment) {
	var shards shardSet
	for i, k := range keys {
		r[i].hash = s.hash(k)
		shards.add(r[i].hash)
	}
	for range snapshotTries {
		for i := range r {
			r[i].segment = s.shards[shardOf(r[i].hash)].dir.Load().segment(r[i].hash)
		}
		for i := range r {
			// A moved bucket will differ in the second walk.
			r[i].bucket = r[i].segment.load(r[i].hash)
		}
		now = s.clock.now()
		same := true
		for i := range r {
			same = same && r[i].bucket == s.bucket(r[i].hash)
		}
		if same {
			return now
		}
	}
	s.lock(shards)
	defer s.unlock(shards)
	for i := range r {
		r[i].bucket = s.bucket(r[i].hash)
	}
	return s.clock.now()
}
