package store

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// How a write takes effect.
//
// The problem: a write of several keys must be seen whole or not at all, by readers that take no lock, while each key's
// bucket is published by a store of its own. And with a journal the order of the log must be the order of the writes.
//
// What holds, and is cited by number elsewhere:
//
//	(1) Only the holder of a shard's lock stores into its slots, its directory and its segments' counts.
//	(2) A slot's resolved bucket (see bucket.resolve) changes at one instant, and never returns to an earlier bucket.
//	(3) A version is taken, and the journal appended to, while all locks of the write are held; so the writes of one key
//	    have rising versions, and the journal's order agrees with what readers see.
//	(4) What is published is complete: an entry and its bucket have their version before a reader can reach them.
//
// One key: lock its shard, check, build the new bucket, take memory, take the version, store the bucket, unlock. The
// store is the instant.
//
// Several keys: lock their shards in rising order and check the conditions. In the slot of each bucket that changes put a
// pending, which resolves to the old bucket, and build the new one beside it. Take memory and the version. Then set
// txn.committed: with this one store all of the pendings resolve to the new buckets. Last, replace each pending by the
// bucket that it resolves to, and unlock. If memory or the journal refuses, or a caller's code panics, the old buckets are
// stored back, which no reader can tell, since the pendings resolved to them all the while.
//
// Rejected: versions in the entries and a reader that picks by a read timestamp (every reader would need one from a shared
// counter, and old versions a collector of their own); a sequence lock for each shard (readers would wait for writers);
// locks taken by readers of several keys.

// txn is what the pendings of one write of several keys share.
type txn struct {
	// committed publishes every pending's next at one instant.
	committed atomic.Bool
}

// effect is what a write changes in the figures.
type effect struct {
	keys, valueBytes, history int64
	memory                    int64
	past                      int64 // the part of memory that history takes
	expiring                  int64 // keys that have an expiry
}

func (a *effect) add(b effect) {
	a.keys += b.keys
	a.valueBytes += b.valueBytes
	a.history += b.history
	a.memory += b.memory
	a.past += b.past
	a.expiring += b.expiring
}

func (a *effect) sub(b effect) {
	a.add(effect{-b.keys, -b.valueBytes, -b.history, -b.memory, -b.past, -b.expiring})
}

// account books the effect, except for memory, which was taken before. sh is locked.
func (sh *shard) account(e effect) {
	sh.keys += e.keys
	sh.valueBytes += e.valueBytes
	sh.history += e.history
	sh.expiring += e.expiring
}

// swap is the effect of cur, nil if there is none, giving way to e, which may be a deletion.
func swap(cur, e *Entry) (eff effect) {
	if cur != nil {
		eff.keys--
		eff.valueBytes -= int64(cur.Len())
		eff.memory -= entryMemory(cur)
		eff.expiring -= int64(cur.klen >> 31)
	}
	if !e.Deleted() {
		eff.keys++
		eff.valueBytes += int64(e.Len())
		eff.memory += entryMemory(e)
		eff.expiring += int64(e.klen >> 31)
	}
	return eff
}

// change is a write of one key.
type change struct {
	hash        uint64
	entry       *Entry // may be a deletion
	always      bool   // take a version even if it is the deletion of what does not exist
	conditional bool
	ifVersion   uint64
	// only, if not nil, is the entry that must be current: for the sweeper, which removes just what it saw.
	only   *Entry
	keep   int    // how much history the key may have
	wanted effect // what it was refused memory for
}

var errNothing = errors.New("nothing to change")

// commitOne writes one key. It returns the version that the key's bucket then has: the write's own, if it was applied. The
// error is errNothing for a deletion of what does not exist.
func (s *Store) commitOne(ch *change) (version uint64, err error) {
	if err := s.admit(ch.entry.size()); err != nil {
		return 0, err
	}
	key, tag := ch.entry.Key(), tagOf(ch.hash)
	sh := &s.shards[shardOf(ch.hash)]
	sh.mu.Lock()
	defer func() {
		sh.one[0] = nil
		sh.mu.Unlock()
	}()
	g := sh.dir.Load().segment(ch.hash)
	at := &g.slots[slotOf(ch.hash)].p
	b := at.Load()
	i, cur := b.find(tag, key)
	live := cur
	if cur != nil && ch.only == nil && s.expired(cur) {
		live = nil
	}
	if ch.only != nil && cur != ch.only || ch.entry.Deleted() && live == nil && !ch.always {
		return b.version(), errNothing
	}
	if current := versionOf(live); ch.conditional && current != ch.ifVersion {
		return b.version(), &ConflictError{Version: current}
	}

	var next *bucket
	var eff effect
	switch {
	case ch.keep > 0 || b.ext() != nil:
		d := draftOf(b)
		eff = d.set(ch.entry, tag, b, ch.keep)
		next = d.build()
	case ch.entry.Deleted() && cur == nil:
		next = draftOf(b).build() // the same, to be given the version
	case ch.entry.Deleted():
		eff = swap(cur, ch.entry)
		next = b.withoutEntry(i)
	default:
		eff = swap(cur, ch.entry)
		next = b.withEntry(i, ch.entry, tag)
	}
	eff.add(replaced(b, next))
	if !s.take(eff, ch.entry.Deleted()) {
		ch.wanted = eff
		return 0, ErrOutOfMemory
	}
	left := sh.one[:]
	if left[0] = ch.entry; ch.entry.Deleted() && cur == nil {
		left = nil // it takes a version and changes nothing
	}
	if version, err = s.order(left, eff); err != nil {
		return 0, err
	}
	ch.entry.version = version
	next.setVersion(version)
	at.Store(next) // the instant
	sh.newest = version
	sh.account(eff)
	if ch.only != nil {
		s.expirations.Add(1)
	}
	g.count += next.load() - b.load()
	if (ch.entry.Expiry() != 0 || s.age > 0) && s.notes(b, cur, ch.entry, ch.keep) {
		s.note(sh, ch.hash)
	}
	s.splitWhileFull(sh, ch.hash)
	return version, nil
}

// commit is a write of several keys under way. Its locks are held.
type commit struct {
	s       *Store
	txn     txn
	now     moment // the clock, read under the locks
	pending []*pending
	made    []*Entry // every entry that the write made, replaced ones too
	noted   []uint64 // hashes of which something will be due
	singly  bool     // each key is in made only once
	keep    int      // how much history each key may have
	frees   bool     // only deletions so far: they are never refused memory
	purges  bool     // it erases the past of keys, and does nothing else
	seen    uint64   // the highest version of a bucket that it read
	wanted  effect   // what it was refused memory for
	refused error    // why it is to be undone, though it could be finished; nil: it is not
}

// current returns the entry of key as the write has left it so far; nil if it is absent or expired.
func (c *commit) current(h uint64, key []byte) *Entry {
	b := c.s.slotOf(h).p.Load()
	var e *Entry
	if p := c.own(b); p != nil {
		_, e = p.next.find(tagOf(h), key)
	} else {
		c.seen = max(c.seen, b.version())
		_, e = b.find(tagOf(h), key)
	}
	if e != nil && e.expiredAt(c.now) {
		return nil
	}
	return e
}

// own returns b as a pending, which is then this write's own, since its locks are held.
func (c *commit) own(b *bucket) *pending {
	if b == nil || b.meta&kindPending == 0 {
		return nil
	}
	return b.pending()
}

// stage returns the pending of the bucket of h.
func (c *commit) stage(h uint64) *pending {
	at := c.s.slotOf(h)
	b := at.p.Load()
	p := c.own(b)
	if p == nil {
		p = &pending{txn: &c.txn, old: b, next: b, hash: h, slot: at}
		p.meta = kindPending | b.version()<<versionShift
		c.pending = append(c.pending, p)
		at.p.Store(&p.bucket) // resolves to b, as before
	}
	return p
}

// set stages e, which may be a deletion.
func (c *commit) set(h uint64, e *Entry) {
	p := c.stage(h)
	d := draftOf(p.next) // not kept: of many keys, most are alone in their buckets
	p.effect.add(d.set(e, tagOf(h), p.old, c.keep))
	p.next = d.build()
	if _, cur := p.old.find(tagOf(h), e.Key()); c.s.notes(p.old, cur, e, c.keep) {
		c.noted = append(c.noted, h)
	}
	c.made = append(c.made, e)
	c.frees = c.frees && e.Deleted()
}

// finish makes all that was staged visible at one instant. If it returns an error, all of it is to be undone.
func (c *commit) finish() (version uint64, err error) {
	if len(c.pending) == 0 {
		return 0, nil
	}
	var all effect
	for _, p := range c.pending {
		p.effect.add(replaced(p.old, p.next))
		all.add(p.effect)
	}
	if !c.s.take(all, c.frees) {
		c.wanted = all
		return 0, ErrOutOfMemory
	}
	if version, err = c.s.order(c.left(), all); err != nil {
		return 0, err
	}
	for _, e := range c.made {
		e.version = version
	}
	for _, p := range c.pending {
		p.next.setVersion(version)
	}
	c.txn.committed.Store(true) // the instant
	for _, p := range c.pending {
		p.slot.p.Store(p.next)
	}
	for _, p := range c.pending {
		sh := &c.s.shards[shardOf(p.hash)]
		g := sh.dir.Load().segment(p.hash)
		sh.account(p.effect)
		sh.newest = version
		g.count += p.next.load() - p.old.load()
	}
	for _, h := range c.noted {
		c.s.note(&c.s.shards[shardOf(h)], h)
	}
	for _, p := range c.pending {
		c.s.splitWhileFull(&c.s.shards[shardOf(p.hash)], p.hash)
	}
	return version, nil
}

// left returns what the write leaves of each key that it changed: the entries that it made and did not itself replace, but
// for deletions of keys that were absent before it.
func (c *commit) left() []*Entry {
	if c.s.journal == nil {
		return nil
	}
	if c.singly {
		return c.made
	}
	last := make(map[string]int, len(c.made))
	for i, e := range c.made {
		last[string(e.Key())] = i
	}
	left := make([]*Entry, 0, len(last))
	for i, e := range c.made {
		if last[string(e.Key())] == i && (!e.Deleted() || c.purges || c.had(e.Key())) {
			left = append(left, e)
		}
	}
	return left
}

// had reports whether key, which the write has staged an entry for, had one before it.
func (c *commit) had(key []byte) bool {
	h := c.s.hash(key)
	_, e := c.own(c.s.slotOf(h).p.Load()).old.find(tagOf(h), key)
	return e != nil
}

// undo takes the pendings back out, unless they were committed.
func (c *commit) undo() {
	if c.txn.committed.Load() {
		return
	}
	for _, p := range c.pending {
		p.slot.p.Store(p.old) // what p resolved to: see (2)
	}
}

// makeRoom runs write, and again if the journal has not admitted it, and for as long as it is refused for want of memory and there is history to give up for it: the
// oldest first, and last what the write's own keys have. keep is how much history those may have after it. A write that could
// not be helped by that takes nobody's history.
func (s *Store) makeRoom(write func(keep int) (wanted effect, err error)) error {
	for keep := s.keep; ; {
		wanted, err := write(keep)
		size, again := notAdmitted(err)
		switch {
		case again:
			if err := s.admit(size); err != nil {
				return err
			}
		case err == nil || !errors.Is(err, ErrOutOfMemory):
			return err
		case s.budget.hopeless(wanted.memory - wanted.past):
			return err
		case s.evict(wanted.memory):
		case keep > 0:
			keep = 0
		default:
			return err
		}
	}
}

// notAdmitted reports whether a write is to begin again, since the journal did not admit it, and with how many bytes.
func notAdmitted(err error) (size int, again bool) {
	if err == nil {
		return 0, false
	}
	var n *NotAdmittedError
	if errors.As(err, &n) {
		return int(n.Size), true
	}
	return 0, false
}

var errClosed = fmt.Errorf("%w: the store is closed", ErrReadOnly)

// admit is asked before a write of so many bytes of entries takes its locks.
func (s *Store) admit(size int) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.journal != nil {
		return s.journal.Admit(int64(size))
	}
	return nil
}

// take takes the memory of a write; deletions get it whatever the limit says.
func (s *Store) take(e effect, deletion bool) bool {
	if !deletion && !s.budget.take(e.memory) {
		return false
	}
	if deletion {
		s.budget.used.Add(e.memory)
	}
	if e.past != 0 {
		s.budget.past.Add(e.past)
	}
	return true
}

// book takes the memory of what is not a write of its own, whatever the limit says.
func (s *Store) book(e effect) { s.take(e, true) }

// order gives a write its place among all others: see (3). left is what it leaves of its keys, for the journal; took is
// what it has taken memory for, which goes back if it is refused, or if the journal panics.
func (s *Store) order(left []*Entry, took effect) (version uint64, err error) {
	defer func() {
		if version == 0 {
			s.book(effect{memory: -took.memory, past: -took.past})
		}
	}()
	if s.closed.Load() { // again, since Close waits for the locks alone
		return 0, errClosed
	}
	var floor uint64
	if s.keep > 0 {
		floor = s.clock.wall() // so that a version says when it was made
	}
	if s.journal != nil {
		return s.journal.Append(floor, left)
	}
	if floor == 0 {
		return s.versions.Add(1), nil
	}
	for {
		last := s.versions.Load()
		next := max(last, floor) + 1
		if s.versions.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}

func versionOf(e *Entry) uint64 {
	if e == nil {
		return 0
	}
	return e.version
}

// slotOf returns the slot of h. Its shard is locked.
func (s *Store) slotOf(h uint64) *slot {
	return &s.shards[shardOf(h)].dir.Load().segment(h).slots[slotOf(h)]
}

func (s *Store) splitWhileFull(sh *shard, h uint64) {
	for g := sh.dir.Load().segment(h); g.count > g.limit; g = sh.dir.Load().segment(h) {
		s.book(s.split(sh, h))
	}
}
