package store

import (
	"errors"
	"slices"
)

// revisions appends the kept versions of key, newest first.
func (c *Session) revisions(dst []*Entry, h uint64, key []byte) []*Entry {
	s := c.store
	b := s.bucket(h)
	c.see(b.version())
	_, e := b.find(tagOf(h), key)
	if e != nil && (s.keep > 0 || !s.expired(e)) {
		dst = append(dst, e)
	}
	if i := chainOf(b.chains(), key); i >= 0 {
		dst = append(dst, s.young(b.chains()[i], e, s.clock.now())...)
	}
	return dst
}

// young returns the part of a chain that is not too old at this moment; cur is the key's current entry, nil if there is none.
func (s *Store) young(c chain, cur *Entry, now moment) chain {
	if s.age > 0 {
		for i := range c {
			if v := c.replacedBy(i, cur); int64(v)+s.age <= now.mono+now.state.leadOf(v) {
				return c[:i]
			}
		}
	}
	return c
}

// tooOld returns when the first of a chain is too old, by the time that is furthest ahead, in Unix milliseconds.
func (s *Store) tooOld(st *clockState, c chain, cur *Entry) uint64 {
	v := c.replacedBy(len(c)-1, cur)
	return st.latest((v+uint64(s.age))/1000, v)
}

// replacedBy returns the version that took the place of c[i], from when on that is history: with one that is kept, versions
// tell the time. A deletion is history from the start.
func (c chain) replacedBy(i int, cur *Entry) uint64 {
	switch {
	case i > 0:
		return c[i-1].version
	case cur != nil:
		return cur.version
	}
	return c[0].version
}

// revision returns the kept version of key, nil if it is not kept.
func (c *Session) revision(h uint64, key []byte, version uint64) *Entry {
	for _, e := range c.revisions(nil, h, key) {
		if e.version == version {
			return e
		}
	}
	return nil
}

// GetVersion returns the entry that key had in this version, nil if it is not kept or was a deletion.
func (c *Session) GetVersion(key []byte, version uint64) *Entry {
	c.gets++
	if e := c.revision(c.store.hash(key), key, version); e != nil && !e.Deleted() {
		return e
	}
	c.misses++
	return nil
}

// History appends the kept versions of key to dst, newest first, at most limit (0: all).
func (c *Session) History(dst []Revision, key []byte, limit int) []Revision {
	for i, e := range c.revisions(nil, c.store.hash(key), key) {
		if limit > 0 && i == limit {
			break
		}
		dst = append(dst, Revision{Entry: e, Time: e.version})
	}
	return dst
}

// notKept is the error of a version that is not kept.
func (s *Store) notKept() error {
	if s.keep == 0 {
		return ErrNoHistory
	}
	return ErrNoVersion
}

// KeepsHistory reports whether earlier versions of keys are kept.
func (s *Store) KeepsHistory() bool { return s.keep > 0 }

// Rollback gives key a new version with the value of a kept one, without an expiry, or deletes it where the kept version
// is a deletion; it returns the new version. It counts as a set, or as a delete. Besides the errors of Set there is
// ErrNoVersion, which ErrNoHistory matches.
func (c *Session) Rollback(key []byte, version uint64) (uint64, error) {
	s := c.store
	h := s.hash(key)
	for {
		var current uint64
		if e := c.peek(key); e != nil {
			current = e.version
		}
		old := c.revision(h, key, version)
		if old == nil {
			return 0, s.notKept()
		}
		if old.Deleted() && current == 0 {
			return version, nil // it is deleted as it is
		}
		e := newTombstone(key)
		if !old.Deleted() {
			e = newEntry(key, old.Value(), 0)
		}
		// The condition makes reading the old version and writing the new one a single step.
		v, err := c.commitOne(change{hash: h, entry: e, conditional: true, ifVersion: current})
		var conflict *ConflictError
		switch {
		case err == nil && e.Deleted():
			c.dels++
			return v, nil
		case err == nil:
			c.sets++
			return v, nil
		case errors.Is(err, errNothing), errors.As(err, &conflict):
			continue
		}
		return 0, err
	}
}

// evictShare is the part of the kept history that goes at a time: 1/evictShare.
const evictShare = 8

// evict gives up the oldest part of the history and reports whether that freed anything. It is called without locks. n is
// how much memory is wanted; the caller tries again, and calls again, if it was not enough.
func (s *Store) evict(n int64) bool {
	if s.keep == 0 {
		return false
	}
	s.evicting.Lock()
	defer s.evicting.Unlock()
	if s.budget.limit-s.budget.withheld.Load()-s.budget.used.Load() >= n {
		return true // somebody else has just made room
	}
	versions := s.sampleHistory()
	if len(versions) == 0 {
		return false
	}
	slices.Sort(versions)
	oldest := versions[len(versions)/evictShare]
	freed := int64(0)
	for i := range s.shards {
		for _, g := range s.shards[i].segments() {
			for j := range g.slots {
				if b := g.slots[j].p.Load().resolve(); slices.ContainsFunc(b.chains(), func(c chain) bool { return c.since(oldest) < len(c) }) {
					gone := s.forget(s.hash(b.chains()[0][0].Key()), func(c chain, _ *Entry) chain { return c[:c.since(oldest)] })
					freed -= gone.memory
					s.evicted.Add(uint64(-gone.history))
				}
			}
		}
	}
	return freed > 0
}

// sampleHistory returns the versions of some of the kept history, evenly chosen: all of it if it is small.
func (s *Store) sampleHistory() (versions []uint64) {
	const enough = 4096
	stride, n := 1, 0
	for i := range s.shards {
		for _, g := range s.shards[i].segments() {
			for j := range g.slots {
				for _, c := range g.slots[j].p.Load().resolve().chains() {
					for _, e := range c {
						if n++; n%stride == 0 {
							versions = append(versions, e.version)
						}
					}
				}
			}
		}
		for ; len(versions) > enough; stride *= 2 {
			for k := range len(versions) / 2 {
				versions[k] = versions[2*k]
			}
			versions = versions[:len(versions)/2]
		}
	}
	return versions
}

// since returns how much of the chain is newer than oldest.
func (c chain) since(oldest uint64) int {
	n := len(c)
	for n > 0 && c[n-1].version <= oldest {
		n--
	}
	return n
}

// worth returns the chain, of a key that exists or not; nil if it only says that a key which is absent was deleted.
func (c chain) worth(exists bool) chain {
	if len(c) == 0 || !exists && len(c) == 1 {
		return nil
	}
	return c
}

// forget leaves of each chain in the bucket of h what left says, of it and the key's current entry, and returns the
// effect of that.
func (s *Store) forget(h uint64, left func(c chain, cur *Entry) chain) (eff effect) {
	sh := &s.shards[shardOf(h)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := &s.slotOf(h).p
	b := at.Load()
	if len(b.chains()) == 0 {
		return effect{}
	}
	d := draftOf(b)
	var history []chain
	for _, c := range d.history {
		_, cur := d.find(tagOf(s.hash(c[0].Key())), c[0].Key())
		now := left(c, cur).worth(cur != nil)
		eff.add(kept(c[len(now):], -1))
		if len(now) > 0 {
			history = append(history, slices.Clone(now))
		}
	}
	d.history = history
	next := d.build()
	eff.add(replaced(b, next))
	at.Store(next)
	sh.account(eff)
	sh.dir.Load().segment(h).count += next.load() - b.load()
	s.book(eff)
	return eff
}

// kept is the effect of entries becoming history, sign 1, or going from it, sign -1.
func kept(entries []*Entry, sign int64) (eff effect) {
	for _, e := range entries {
		eff.memory += sign * entryMemory(e)
	}
	eff.history, eff.past = sign*int64(len(entries)), eff.memory
	return eff
}
