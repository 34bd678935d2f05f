package store

import (
	"bytes"
	"slices"
)

// Purge erases the past of keys at one instant: a key that exists keeps only its current version, and of any other nothing is
// left. It returns how many versions were erased, deletions included, and the version of the erasure in the journal, which has
// every key, whether or not the store had anything to erase of it. The version is 0 if there are no keys, or neither a journal
// nor anything to erase. Errors: ErrReadOnly; it never fails for want of memory.
//
// What is erased can't be read any more and does not come back from the journal. The journal's files may still have it until
// the journal drops those that are older: a log does so once it has made a snapshot.
func (c *Session) Purge(keys [][]byte) (erased int, version uint64, err error) {
	s := c.store
	if len(keys) == 0 {
		return 0, 0, nil
	}
	if s.replica != nil {
		return c.proposePurge(keys)
	}
	if err := s.admit(0); err != nil {
		return 0, 0, err
	}
	err = s.makeRoom(0, func(int) (wanted demand, err error) {
		erased, version, err = c.purge(keys)
		return demand{}, err
	})
	return erased, version, err
}

// purge is Purge, once.
func (c *Session) purge(keys [][]byte) (erased int, version uint64, err error) {
	s := c.store
	set := s.shardsOf(keys)
	s.table.LockAll(set)
	defer s.table.UnlockAll(set)
	now := s.clock.now()
	var told []*Entry
	var seen uint64
	listed := make(map[string]bool, len(keys))
	for _, k := range keys {
		h := s.hash(k)
		sh := s.shardOf(h)
		p := sh.Find(h, k)
		e := p.Entry()
		seen = max(seen, p.Version(), versionOf(e))
		all := !e.Exists() || e.Deleted() || expiredAt(e, now)
		_, _, past := sh.Oldest(e)
		if listed[string(k)] || s.journal == nil && !past && (!e.Exists() || !all) {
			continue // there is nothing to erase, in the table or in a journal
		}
		listed[string(k)] = true
		told = append(told, newPurge(k, all))
	}
	c.see(seen)
	if len(told) == 0 {
		return 0, 0, nil
	}
	if version, err = s.order(told); err != nil {
		return 0, 0, err
	}
	c.see(version)
	for _, x := range told {
		_, all := x.Purge()
		h := s.hash(x.Key())
		erased += s.erase(s.shardOf(h), h, x.Key(), all, version)
	}
	return erased, version, nil
}

// proposePurge is Purge for a store that proposes. How many versions go is known when it is applied, so it waits for that.
func (c *Session) proposePurge(keys [][]byte) (erased int, version uint64, err error) {
	s := c.store
	c.writes()
	if err = s.admit(0); err == nil {
		err = s.makeRoom(0, func(int) (wanted demand, err error) {
			version, err = s.orderPurge(keys)
			return demand{}, err
		})
	}
	if err != nil {
		c.shows(0, err)
		return 0, 0, err
	}
	c.see(version)
	c.shows(version, nil)
	err = s.journal.Wait(version)
	erased, applied := s.purges.take(version)
	switch {
	case err != nil:
		return 0, 0, err
	case !applied:
		return 0, 0, ErrUnknown // what is published is another's write
	}
	return erased, version, nil
}

// orderPurge gives an erasure its place in the journal.
func (s *Store) orderPurge(keys [][]byte) (version uint64, err error) {
	set := s.shardsOf(keys)
	s.table.LockAll(set)
	defer s.table.UnlockAll(set)
	var told []*Entry
	listed := make(map[string]bool, len(keys))
	for _, k := range keys {
		if listed[string(k)] {
			continue
		}
		listed[string(k)] = true
		h := s.hash(k)
		w := s.shardOf(h).will(h, k)
		told = append(told, newPurge(k, !w.exists || w.expired(s)))
	}
	if version, err = s.order(told); err != nil {
		return 0, err
	}
	s.purges.expect(version)
	s.erasing.Store(version)
	return version, nil
}

// erase erases the earlier versions of key, with all the current one too, by the write of this version, and returns how many
// versions that were. sh is locked.
func (s *Store) erase(sh *shard, h uint64, key []byte, all bool, version uint64) (erased int) {
	erased = s.forget(sh, key, func(Found, uint64) bool { return true })
	sh.newest = max(sh.newest, version)
	p := sh.Find(h, key)
	if e := p.Entry(); all && e.Exists() {
		sh.account(counted(e, -1))
		sh.Delete(&p, version)
		return erased + 1
	}
	sh.Note(&p, version)
	return erased
}

// purgePage is about how many keys a PurgePrefix erases the past of.
const purgePage = 1000

// PurgePrefix is Purge of a page of the keys that begin with prefix, and that exist or of which something is kept. cursor is
// nil for the first page, then the next that the call before has returned; next is nil after the last page. Cursors are those
// of Scan. Errors: those of Purge, and ErrStaleCursor.
func (c *Session) PurgePrefix(cursor, prefix []byte) (erased int, version uint64, next []byte, err error) {
	if c.store.replica != nil { // which keys there are is for the one that leads to say
		c.writes()
		if err := c.mayLook(); err != nil {
			c.shows(0, err)
			return 0, 0, nil, err
		}
		c.shows(0, nil)
	}
	from, err := c.store.fromCursor(cursor)
	if err != nil {
		return 0, 0, nil, err
	}
	keys, next := c.store.known(from, prefix)
	erased, version, err = c.Purge(keys)
	if err != nil {
		return 0, 0, nil, err
	}
	return erased, version, next, nil
}

// known returns the keys that begin with prefix, and exist or have a history, in a few segments from that of hash from on,
// and the cursor of what is behind them.
func (s *Store) known(from uint64, prefix []byte) (keys [][]byte, next []byte) {
	for range pageSegments {
		sh := s.shardOf(from)
		sh.Lock()
		last := sh.Segment(from, func(e Found) {
			if bytes.HasPrefix(e.Key(), prefix) && s.hash(e.Key()) >= from {
				keys = append(keys, slices.Clone(e.Key()))
			}
		})
		sh.Unlock()
		if last == ^uint64(0) {
			return keys, nil
		}
		if from = last + 1; len(keys) >= purgePage {
			break
		}
	}
	return keys, s.cursor(from)
}
