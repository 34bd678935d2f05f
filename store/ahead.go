package store

import (
	"maps"
	"unsafe"

	"kv/store/table"
)

// How a store proposes. With Options.Proposes a write has no effect when it has its version: it takes effect when the
// journal brings it back, by Apply, or never. Until then what its keys will be is in an overlay, by which the writes
// behind it are judged.
//
// What holds, besides (1) and (2):
//
//	(3) The table has only what Apply was given. A reader sees nothing else.
//	(4) What a key will be is its newest proposal, or without one what the table has. So a write is judged by the effects of all
//	    writes before it in the journal: a proposal is put into the overlay under the lock that it was appended under, and
//	    leaves the overlay when it is applied, or with all others by Abandon.
//	(5) An expiring key exists for writes until an entry that says what time it is was appended, and for reads until that
//	    entry is applied. It is appended with all shards locked. So the key is absent from one place in the journal on,
//	    everywhere.
//	(6) What a replica decides by itself nobody can see: it frees the memory of what has expired, or grown too old, by (5).
//
// The memory of proposals is taken from the budget, and given back when they leave the overlay; the table then takes
// what it needs.
//
// Rejected: to build the entry in the table's memory when it is proposed, and to publish that. It would have to be
// known to whoever moves what is in that memory, and to be kept from use while a reader looks at it, for the sake of
// one copy.

// proposal is what a key will be.
type proposal struct {
	entry *Entry // may be a deletion; it has its version
	bytes int64  // taken from the budget
	count int    // it and those before it of the same key that are not applied: so many will be newer than what the table has
}

// proposalMemory is what a proposal takes.
func proposalMemory(e *Entry) int64 { return allocated(e.size()) + 64 }

// will is what a key will be, as far as conditions look at it.
type will struct {
	exists  bool // expired or not
	version uint64
	expiry  uint64
	seen    uint64 // the version that an answer which tells of it has to wait for
}

// will returns what key, whose hash is h, will be. sh is locked.
func (sh *shard) will(h uint64, key []byte) will {
	if p, ok := sh.ahead[string(key)]; ok {
		return will{!p.entry.Deleted(), p.entry.version, p.entry.Expiry(), p.entry.version}
	}
	p := sh.Find(h, key)
	e := p.Entry()
	w := will{seen: max(p.Version(), versionOf(e))}
	if e.Exists() && !e.Deleted() {
		w.exists, w.version, w.expiry = true, e.Version(), e.Expiry()
	}
	return w
}

// expired reports whether what will be has expired by the proposals, see (5). A shard is locked.
func (w will) expired(s *Store) bool { return w.expiry != 0 && w.expiry <= s.aheadClock.Load() }

// proposed puts what its key will be into the overlay. sh is locked, and the memory taken.
func (sh *shard) proposed(s *Store, e *Entry, version uint64, bytes int64) {
	e = e.Clone()
	e.version = version
	if sh.ahead == nil {
		sh.ahead = make(map[string]proposal)
	}
	key := unsafe.String(unsafe.SliceData(e.Key()), e.keyLen()) // as immutable as the entry
	old, ok := sh.ahead[key]
	if ok {
		s.budget.Give(old.bytes)
	}
	sh.ahead[key] = proposal{e, bytes, old.count + 1}
	sh.mostAhead = max(sh.mostAhead, len(sh.ahead))
}

// fewAhead is how many keys the overlay of a shard keeps room for when it is empty.
const fewAhead = 64

// arrived takes what is applied, or older, out of the overlay. sh is locked.
func (sh *shard) arrived(s *Store, key []byte, version uint64) {
	p, ok := sh.ahead[string(key)]
	switch {
	case !ok:
	case p.entry.version > version:
		p.count--
		sh.ahead[string(key)] = p
	default:
		s.budget.Give(p.bytes)
		delete(sh.ahead, string(key))
		if len(sh.ahead) == 0 && sh.mostAhead > fewAhead {
			sh.ahead, sh.mostAhead = nil, 0 // a map does not shrink
		}
	}
}

// Abandon forgets what was proposed and not applied: it is called once the journal takes no more, and before it brings
// what another replica has proposed.
func (s *Store) Abandon() {
	s.table.LockAll(allShards)
	defer s.table.UnlockAll(allShards)
	for i := range s.shards {
		sh := &s.shards[i]
		for p := range maps.Values(sh.ahead) {
			s.budget.Give(p.bytes)
		}
		sh.ahead, sh.mostAhead = nil, 0
	}
	s.aheadClock.Store(s.appliedClock.Load())
	s.aheadSince = 0
	s.erasing.Store(0)
	s.purges.abandon()
}

// proposeOne is commitOne for a store that proposes.
func (s *Store) proposeOne(ch *change) (version uint64, err error) {
	key := ch.entry.Key()
	sh := s.shardOf(ch.hash)
	sh.Lock()
	defer func() {
		sh.one[0] = nil
		sh.Unlock()
	}()
	var w will
	if ch.conditional || ch.entry.Deleted() { // otherwise nothing depends on it, and it costs a cache miss or two
		w = sh.will(ch.hash, key)
	}
	live := w.exists && !w.expired(s)
	if w.exists && !live {
		w.seen = max(w.seen, s.aheadSince) // that it has expired is no more certain than the time is
	}
	if ch.entry.Deleted() && !live && !ch.always {
		return w.seen, errNothing
	}
	current := uint64(0)
	if live {
		current = w.version
	}
	if ch.conditional && current != ch.ifVersion {
		return w.seen, &ConflictError{Version: current}
	}
	left := sh.one[:]
	if left[0] = ch.entry; ch.entry.Deleted() && !w.exists {
		left = nil // it takes a version and changes nothing
	}
	bytes := proposalMemory(ch.entry)
	if !s.budget.Take(bytes, ch.entry.Deleted()) {
		return 0, ErrOutOfMemory
	}
	defer func() {
		if version == 0 || left == nil {
			s.budget.Give(bytes)
		}
	}()
	if version, err = s.order(left); err != nil {
		return 0, err
	}
	if left != nil {
		sh.proposed(s, ch.entry, version, bytes)
	}
	return version, nil
}

// pending reports whether a proposal for key is not applied yet. sh is locked.
func (sh *shard) pending(key []byte) bool {
	_, ok := sh.ahead[string(key)]
	return ok
}

// proposeExpiry proposes e, the deletion of a key with this hash that has expired and of which nothing is pending. sh is
// locked, and sweeper.mu held.
func (s *Store) proposeExpiry(sh *shard, h uint64, e *Entry) error {
	bytes, version := proposalMemory(e), uint64(0)
	s.budget.Take(bytes, true)
	defer func() {
		if version == 0 {
			s.budget.Give(bytes)
		}
		sh.one[0] = nil
	}()
	sh.one[0] = e
	var err error
	if version, err = s.order(sh.one[:]); err != nil {
		return err
	}
	sh.proposed(s, e, version, bytes)
	s.sweeper.proposed, s.sweeper.newest = append(s.sweeper.proposed, h), version
	s.expirations.Add(1)
	return nil
}

// foreseen is what a write of several keys leaves of one, in a store that proposes.
type foreseen struct {
	hash    uint64
	entry   *Entry
	existed bool // the key will exist before it
}

// foresee is commit.current for a store that proposes. What it returns is in Go's memory, or in the table's.
func (c *commit) foresee(h uint64, key []byte) Found {
	var e *Entry
	if i, ok := c.index[string(key)]; ok {
		e = c.foreseen[i].entry
	} else if p, ok := c.s.shardOf(h).ahead[string(key)]; ok {
		e = p.entry
		c.seen = max(c.seen, e.version)
	}
	var f Found
	if e != nil {
		f = table.Outside(spec(e), e.version)
	} else {
		p := c.s.shardOf(h).Find(h, key)
		f = p.Entry()
		c.seen = max(c.seen, p.Version(), versionOf(f))
	}
	switch {
	case !f.Exists():
	case f.Deleted():
		return Found{}
	case f.Expiry() != 0 && f.Expiry() <= c.s.aheadClock.Load():
		c.seen = max(c.seen, c.s.aheadSince)
		return Found{}
	}
	return f
}

// foresaw is commit.set for a store that proposes.
func (c *commit) foresaw(h uint64, e *Entry) {
	if !e.Deleted() {
		c.wanted.bytes += proposalMemory(e)
	}
	key := e.Key()
	if i, ok := c.index[string(key)]; ok {
		c.foreseen[i].entry = e
		return
	}
	if c.index == nil {
		c.index = make(map[string]int)
	}
	c.index[string(key)] = len(c.foreseen)
	c.foreseen = append(c.foreseen, foreseen{h, e, c.s.shardOf(h).will(h, key).exists})
}

// propose is commit.finish for a store that proposes.
func (c *commit) propose() (version uint64, err error) {
	s := c.s
	if len(c.foreseen) == 0 {
		return 0, nil
	}
	left := make([]*Entry, 0, len(c.foreseen))
	all, must := int64(0), true
	for _, f := range c.foreseen {
		if !f.entry.Deleted() || f.existed {
			left = append(left, f.entry)
			all += proposalMemory(f.entry)
			must = must && f.entry.Deleted()
		}
	}
	if !s.budget.Take(all, must) {
		return 0, ErrOutOfMemory
	}
	defer func() {
		if version == 0 {
			s.budget.Give(all)
		}
	}()
	if version, err = s.order(left); err != nil {
		return 0, err
	}
	for _, f := range c.foreseen {
		if !f.entry.Deleted() || f.existed {
			s.shardOf(f.hash).proposed(s, f.entry, version, proposalMemory(f.entry))
		}
	}
	return version, nil
}
