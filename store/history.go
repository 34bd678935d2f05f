package store

import (
	"errors"
	"math"
	"slices"

	"kv/store/table"
)

// eachRevision calls f for the kept versions of the key at p, newest first, for at most limit of them (0: all) and for as
// long as f returns true. The shard is locked.
func (s *Store) eachRevision(sh *shard, p *table.Place, limit int, f func(Found) (more bool)) {
	cur := p.Entry()
	if !cur.Exists() || !s.keeps && s.expired(cur) {
		return
	}
	now := s.clock.now()
	n := 0
	// A deletion is history from the start.
	if cur.Deleted() && s.tooOld(cur.Version(), now) || !f(cur) {
		return
	}
	replacedBy := cur.Version()
	sh.Revisions(p, func(e Found) bool {
		if n++; n == limit || s.tooOld(replacedBy, now) {
			return false
		}
		replacedBy = e.Version()
		return f(e)
	})
}

// tooOld reports whether what was replaced by this version is too old to be shown at this moment. Where history is kept,
// versions are times: see order.
func (s *Store) tooOld(replacedBy uint64, now moment) bool {
	age := s.age.Load()
	return age > 0 && int64(replacedBy)+age <= now.mono+now.state.leadOf(replacedBy)
}

// agesAt returns when what was replaced by this version is too old, by the time that is furthest ahead, in Unix milliseconds.
func (s *Store) agesAt(st *clockState, replacedBy uint64) uint64 {
	return st.latest((replacedBy+uint64(s.age.Load()))/1000, replacedBy)
}

// locked calls f with key's place, with its shard locked, and counts the key as seen: see Session.seen.
func (c *Session) locked(key []byte, f func(sh *shard, p *table.Place)) {
	h := c.store.hash(key)
	sh := c.store.shardOf(h)
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	c.see(max(p.Version(), versionOf(p.Entry())))
	f(sh, &p)
}

// revision returns a copy of the kept version of key, nil if it is not kept.
func (c *Session) revision(key []byte, version uint64) (e *Entry) {
	c.locked(key, func(sh *shard, p *table.Place) {
		c.store.eachRevision(sh, p, 0, func(f Found) bool {
			if f.Version() == version {
				e = detach(f)
			}
			return f.Version() > version
		})
	})
	return e
}

// GetVersion returns a copy of key's entry of this version, nil if that is not kept or is a deletion.
func (c *Session) GetVersion(key []byte, version uint64) *Entry {
	c.gets++
	if e := c.revision(key, version); e != nil && !e.Deleted() {
		return e
	}
	c.misses++
	return nil
}

// History appends the kept versions of key to dst, newest first, at most limit (0: all).
func (c *Session) History(dst []Revision, key []byte, limit int) []Revision {
	dst, _ = c.HistoryIf(dst, key, limit, nil)
	return dst
}

// HistoryIf is History, but it first calls accept, if not nil, with how many versions there are and the sum of the lengths of
// their values. If accept returns an error, HistoryIf copies nothing and returns that. accept is called with the key's shard
// locked, so it must be quick and not use the store.
func (c *Session) HistoryIf(
	dst []Revision, key []byte, limit int, accept func(n int, bytes int64) error,
) (revisions []Revision, err error) {
	c.locked(key, func(sh *shard, p *table.Place) {
		if accept != nil {
			n, bytes := 0, int64(0)
			c.store.eachRevision(sh, p, limit, func(e Found) bool {
				n++
				bytes += int64(e.Len())
				return true
			})
			if err = accept(n, bytes); err != nil {
				return
			}
		}
		c.store.eachRevision(sh, p, limit, func(e Found) bool {
			dst = append(dst, Revision{Entry: detach(e), Time: e.Version()})
			return true
		})
	})
	return dst, err
}

// notKept is the error of a version that is not kept.
func (s *Store) notKept() error {
	if !s.keeps {
		return ErrNoHistory
	}
	return ErrNoVersion
}

// KeepsHistory reports whether earlier versions of keys are kept.
func (s *Store) KeepsHistory() bool { return s.keeps }

// Rollback gives key a new version with the value of a kept one and without an expiry, or deletes the key if the kept version
// is a deletion. It returns the new version, and counts as a set or as a delete. Errors: those of Set, and ErrNoVersion, which
// ErrNoHistory matches.
func (c *Session) Rollback(key []byte, version uint64) (uint64, error) {
	s := c.store
	if s.replica != nil {
		return c.proposeRollback(key, version)
	}
	h := s.hash(key)
	for {
		var current uint64
		if e := c.peek(key); e != nil {
			current = e.version
		}
		old := c.revision(key, version)
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

// errWait undoes a write that is to begin again when something has been applied.
var errWait = errors.New("something has to be applied first")

// proposeRollback is Rollback for a store that proposes. It reads the old version and proposes the new one under one lock. It
// finds only what will still be kept at the rollback's place in the journal: not a version that pending proposals push out;
// and it waits for pending proposals that drop history.
func (c *Session) proposeRollback(key []byte, version uint64) (uint64, error) {
	s := c.store
	h := s.hash(key)
	sc := takeScratch()
	defer sc.give()
	for {
		var old *Entry
		var wait uint64 // a version that has to be applied before it is known what is kept
		v, err := c.atomically(sc, true, nil, s.shardsOf([][]byte{key}), func(w *commit) {
			sh := s.shardOf(h)
			existed := w.current(h, key).Exists()
			p := sh.Find(h, key)
			old, wait = nil, 0
			will := sh.ahead[string(key)]
			newer := will.count // than the version, of the key's
			s.eachRevision(sh, &p, 0, func(f Found) bool {
				if f.Version() == version {
					old = detach(f)
				}
				newer++
				return f.Version() > version
			})
			switch erasing := s.erasing.Load(); {
			case erasing > s.journal.Durable():
				wait = erasing
			case will.count > 0 && will.entry.version == version:
				if old = will.entry; old.Deleted() && !s.keeps { // nothing is left of it then
					old = nil
				}
			case will.count > 1 && version > s.journal.Durable() && version < will.entry.version:
				wait = version // maybe one that was proposed before the newest, which the overlay does not have
			case newer > s.HistoryDepth()+1:
				old = nil
			}
			switch {
			case wait != 0:
				w.refused = errWait
			case old == nil:
				w.refused = s.notKept()
			case !old.Deleted():
				w.set(h, newEntry(key, old.Value(), 0))
			case existed:
				w.set(h, newTombstone(key))
			}
		})
		switch {
		case err == errWait:
			if err := s.journal.Wait(wait); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case v == 0:
			return version, nil // it is deleted as it is
		case old.Deleted():
			c.dels++
			return v, nil
		default:
			c.sets++
			return v, nil
		}
	}
}

// dropShare is the part of the kept history that goes at a time: 1/dropShare.
const dropShare = 8

// dropHistory drops the oldest part of the history, for a write that wants n bytes, and reports whether that freed anything.
// The write tries again, and calls again if that was not enough. No lock is held.
func (s *Store) dropHistory(n int64) bool {
	if !s.keeps || s.held() >= heldLong {
		return false // a reader holds memory: what is freed now could not be used
	}
	s.dropping.Lock()
	defer s.dropping.Unlock()
	oldest, ok := s.oldPart()
	if !ok {
		return false
	}
	freed := false
	for i := range s.shards {
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) {
			dropped := s.forget(sh, key, func(old Found, _ uint64) bool { return old.Version() <= oldest })
			s.dropped.Add(uint64(dropped))
			freed = freed || dropped > 0
		})
	}
	s.tidy(true)
	return freed
}

const (
	// History of less than leastPast bytes a key is not worth looking for. To find any means to look at all keys, thousands
	// for the little that a write needs, and the next write would have to do it again.
	leastPast = 4
	// alwaysSought is a number of keys so low that history is looked for however little there is.
	alwaysSought = 4096
)

// scarce reports whether there is no history, or too little to be worth looking for.
func (s *Store) scarce() bool {
	var keys, history, bytes int64
	for i := range s.shards {
		sh := &s.shards[i]
		sh.Lock()
		_, kept := sh.Kept()
		keys += sh.keys
		history += sh.history()
		bytes += kept + sh.deletions*entryExtra
		sh.Unlock()
	}
	return history == 0 || keys > alwaysSought && bytes < keys*leastPast
}

// oldPart returns the version up to which history is dropped at a time. ok is false if there is none, or too little.
func (s *Store) oldPart() (oldest uint64, ok bool) {
	if s.scarce() {
		return 0, false
	}
	versions := s.sampleHistory()
	if len(versions) == 0 {
		return 0, false
	}
	slices.Sort(versions)
	return versions[len(versions)/dropShare], true
}

// eachKept calls f for every key of sh that has earlier versions, or of which a deletion is kept. It locks sh for a segment at
// a time, also while it calls f.
func (s *Store) eachKept(sh *shard, f func(sh *shard, key []byte)) {
	var keys [][]byte
	first := uint64(sh.Index()) << (64 - shardBits)
	for h := first; ; {
		sh.Lock()
		if sh.history() == 0 {
			sh.Unlock()
			return
		}
		keys = keys[:0]
		last := sh.Segment(h, func(e Found) {
			if _, _, ok := sh.Oldest(e); ok || e.Deleted() {
				keys = append(keys, slices.Clone(e.Key()))
			}
		})
		for _, k := range keys {
			f(sh, k)
		}
		sh.Unlock()
		if h = last + 1; h == 0 || table.ShardOf(h) != sh.Index() {
			return
		}
	}
}

// forget drops the oldest kept versions of key for as long as drop returns true, and returns how many. sh is locked.
func (s *Store) forget(sh *shard, key []byte, drop func(old Found, replacedBy uint64) bool) (dropped int) {
	p := sh.Find(s.hash(key), key)
	n := sh.history()
	if _, gone := sh.Forget(&p, math.MaxInt, drop); gone {
		sh.deletions--
	}
	return int(n - sh.history())
}

// sampleHistory returns the versions of an even sample of the kept history, or of all of it if it is small.
func (s *Store) sampleHistory() (versions []uint64) {
	const enough = 4096
	stride, n := 1, 0
	for i := range s.shards {
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) {
			p := sh.Find(s.hash(key), key)
			sh.Revisions(&p, func(e Found) bool {
				if n++; n%stride == 0 {
					versions = append(versions, e.Version())
				}
				return true
			})
		})
		for ; len(versions) > enough; stride *= 2 {
			for k := range len(versions) / 2 {
				versions[k] = versions[2*k]
			}
			versions = versions[:len(versions)/2]
		}
	}
	return versions
}
