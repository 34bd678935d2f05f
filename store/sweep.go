package store

import (
	"math"
	"slices"
	"time"

	"kv/store/table"
)

// Expired keys are absent for readers at once; the sweeper removes them within a second, as deletions like any other. It also
// gives up the history that has grown too old.
//
// What is due it finds in each shard's calendar. For every hash of which something will be due there is a note there that is
// not later, or the sweeper has just taken it. A writer that puts off what is due, as by setting a key with a time to live
// anew, leaves the note as it is; when its time comes, the sweeper finds nothing due and notes the hash again. So there is
// about one note for each key that expires, however often it is written. Notes that nothing stands behind any more, of keys
// that were deleted, are dropped when there are as many of them as there are others.

// spareNotes is how many notes without use a shard may have, besides as many as those in use.
const spareNotes = 1024

// followerSweeps is how many sweeps of a replica that does not lead there are for one in which it looks for history
// that is too old.
const followerSweeps = 20

// sweepSteps bounds how long a sweep holds a shard's lock at a time.
const sweepSteps = 256

// A sweep has to leave room for others however much expires at once.
const (
	// sweepAtOnce is how many hashes a sweep settles, in half a millisecond or so, before it rests: on a machine that is
	// busy everybody else has his turn then, which he else has to wait for until the sweeper is stopped for it, 10 ms.
	sweepAtOnce = 1024
	sweepRest   = 100 * time.Microsecond
	// proposeAtOnce is how many deletions of what has expired are under way in a journal that proposes, about: what
	// others write, and what time it is, is not behind more of them. It is looked so often whether they are applied.
	proposeAtOnce = 512
	proposedRest  = time.Millisecond
)

// sweep removes what has expired by now, of a store that proposes what has by what is committed.
func (s *Store) sweep() {
	s.tellTime()
	s.sweepDue()
}

// tellTime sees to it that keys expire: it puts the time into the journal where something is due, if this replica leads.
func (s *Store) tellTime() {
	if s.replica != nil && s.replica.Epoch()%2 == 1 {
		_ = s.proposeTime() // the journal takes nothing: then there is a leader elsewhere, or about to be one, or the next attempt succeeds
	}
}

// sweepDue removes what has expired.
func (s *Store) sweepDue() {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	if s.replica == nil {
		s.followClock()
	} else {
		s.epoch = s.replica.Epoch()
	}
	now := s.clock.now()
	again := s.swept != nil && s.swept.reach(now.state)
	if again || s.swept == nil {
		s.swept = now.state
	}
	s.watchReaders()
	if s.sweeps++; s.sweeps%compactEvery == 0 {
		s.tidy(false)
	}
	if s.replica != nil && !s.leads() && (s.age.Load() == 0 || s.sweeps%followerSweeps != 0) {
		return // that a key has expired says who leads
	}
	defer s.settling.Store(false)
	defer s.noteProposed()
	for i := range s.shards {
		if s.sweepShard(&s.shards[i], now, again) != nil {
			return // the store takes no writes now
		}
	}
}

// sweepShard is sweep for one shard. With again all that is noted is looked at.
func (s *Store) sweepShard(sh *shard, now moment, again bool) error {
	if sh.crowded(s) || again {
		if err := s.sweepAll(sh, now); err != nil {
			return err
		}
	}
	s.due = s.takeDue(s.due[:0], sh, now)
	err := s.settleDue(sh, s.due, now)
	if cap(s.due) > keepDue {
		s.due = nil
	}
	return err
}

// keepDue is how many hashes the sweeper keeps room for.
const keepDue = 1 << 16

// takeDue appends the hashes that are noted in sh for now or earlier, and forgets the notes.
func (s *Store) takeDue(due []uint64, sh *shard, now moment) []uint64 {
	for more := true; more; {
		sh.Lock()
		was := sh.due.memory()
		due, more = sh.due.take(due, now.latest(), sweepSteps)
		if len(due) > 0 {
			s.settling.Store(true)
		}
		s.budget.Take(sh.due.memory()-was, true)
		sh.Unlock()
	}
	return due
}

// crowded reports whether sh has many more notes than it needs, or a calendar that comes to its end.
func (sh *shard) crowded(s *Store) bool {
	sh.Lock()
	defer sh.Unlock()
	if sh.due == nil {
		return false
	}
	need := sh.expiring
	if s.age.Load() > 0 {
		need += sh.history()
	}
	return int64(sh.due.n) > 2*need+spareNotes || sh.due.base > math.MaxUint32/2
}

// sweepAll looks at all that is noted in sh, and notes it anew as far as it has a use.
func (s *Store) sweepAll(sh *shard, now moment) error {
	sh.Lock()
	old := sh.due
	sh.due = nil
	s.settling.Store(true)
	s.budget.Give(old.memory())
	sh.Unlock()
	var all []uint64
	old.each(func(hash uint64, _ uint32) { all = append(all, hash) })
	return s.settleDue(sh, all, now)
}

// settleDue removes what is due of the keys with these hashes, which were noted in sh, and notes what of them will be. The
// error is that of a store that takes no writes.
func (s *Store) settleDue(sh *shard, hashes []uint64, now moment) (err error) {
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	for some := range slices.Chunk(hashes, table.WarmAtOnce) {
		left, need, again := some, settleBytes, true
		for again && err == nil {
			var refused error
			if s.replica == nil || s.leads() {
				refused = s.admit(need)
			}
			left, err = s.settleSome(sh, left, now, refused)
			if need, again = notAdmitted(err); again {
				err = nil
			}
		}
		if err != nil {
			sh.Lock()
			for _, h := range left {
				s.noteAt(sh, h, 0) // come again
			}
			sh.Unlock()
			continue
		}
		s.rest(len(some))
	}
	return err
}

// rest lets others go on after so many more hashes were settled, if that is due.
func (s *Store) rest(settled int) {
	if s.settled += settled; s.settled >= sweepAtOnce {
		s.settled = 0
		time.Sleep(sweepRest)
	}
	if len(s.proposed) >= proposeAtOnce {
		for s.replica.Durable() < s.lastProposed && s.replica.Epoch() == s.epoch && !s.closed.Load() {
			time.Sleep(proposedRest)
		}
		s.noteProposed()
	}
}

// leads reports whether this replica takes writes, and has since the sweep began. sweeping is held.
func (s *Store) leads() bool { return s.epoch%2 == 1 && s.replica.Epoch() == s.epoch }

// noteProposed notes what will be due of the keys whose deletion was proposed: nothing, if that is applied.
func (s *Store) noteProposed() {
	for _, h := range s.proposed {
		sh := s.shardOf(h)
		sh.Lock()
		s.note(sh, h)
		sh.Unlock()
	}
	s.proposed = s.proposed[:0]
}

// settleBytes is about what the deletions of table.WarmAtOnce keys take in the journal.
const settleBytes = 4 << 10

// settleSome is settleDue of few hashes, so that the lock of sh is not held for long. With an error it returns those that
// it has not settled. refused, if not nil, is the error of deletions; history grows old all the same.
func (s *Store) settleSome(sh *shard, hashes []uint64, now moment, refused error) (left []uint64, err error) {
	sc := takeScratch()
	defer sc.give()
	sh.Lock()
	defer sh.Unlock()
	sh.Warm(hashes) // what is due together lies anywhere
	for i, h := range hashes {
		stays, proposed := false, len(s.proposed)
		sh.Hash(h, func(p table.Place) {
			e := p.Entry()
			if err != nil || e.Deleted() || !expiredAt(e, now) || s.replica != nil && !(s.leads() && sh.settled(e.Key())) {
				stays = true
				return
			}
			if err = refused; err != nil {
				return
			}
			err = s.expire(sh, &p, sc.tombstone(e.Key()))
			stays = stays || s.keeps // it is history now
			sc.used = 0
		})
		if err != nil {
			return hashes[i:], err
		}
		if stays {
			s.forgetOld(sh, h, now)
		}
		if stays && len(s.proposed) == proposed {
			s.note(sh, h)
		}
	}
	return nil, nil
}

// expire removes what has expired at p; e stands for its deletion. sh is locked.
func (s *Store) expire(sh *shard, p *table.Place, e *Entry) (err error) {
	if s.replica != nil {
		return s.proposeExpiry(sh, p.Hash(), e)
	}
	one := [1]outcome{{hash: p.Hash(), entry: e, cur: p.Entry()}}
	o, version, keep := &one[0], uint64(0), s.HistoryDepth()
	defer func() {
		if o.next != (table.Fresh{}) && version == 0 { // the entry was not put anywhere
			sh.Drop(o.next)
		}
		sh.one[0] = nil
	}()
	if s.keeps {
		var ok bool
		what := spec(e)
		if o.next, ok = sh.Make(&what, true); !ok || !sh.Prepare(p, true) {
			return ErrOutOfMemory
		}
	}
	sh.one[0] = e
	if version, err = s.order(sh.one[:]); err != nil {
		return err
	}
	s.publish(one[:], version, keep, func() { o.put(sh, p, version, keep) })
	s.expirations.Add(1)
	return nil
}

// forgetOld gives up what is too old of the history of the keys with this hash. sh, theirs, is locked.
func (s *Store) forgetOld(sh *shard, h uint64, now moment) {
	if s.age.Load() == 0 {
		return
	}
	var keys [][]byte
	sh.Hash(h, func(p table.Place) { keys = append(keys, slices.Clone(p.Entry().Key())) })
	for _, k := range keys {
		s.forget(sh, k, func(_ Found, replacedBy uint64) bool { return s.tooOld(replacedBy, now) })
	}
}

// notes reports whether something of the key of e will be due earlier than is noted, once e has replaced cur, if that
// exists. keep is how much history the key may have. sh is locked.
func (s *Store) notes(sh *shard, cur Found, e *Entry, keep int) bool {
	if at := e.Expiry(); at != 0 {
		st := s.clock.state.Load()
		if !cur.Exists() || cur.Expiry() == 0 || st.due(cur) > st.latest(at, e.version) {
			return true
		}
	}
	if s.age.Load() == 0 || keep == 0 || !cur.Exists() {
		return false
	}
	_, _, old := sh.Oldest(cur)
	return !old
}

// note notes when something of the keys with this hash will be due; sh, theirs, is locked.
func (s *Store) note(sh *shard, h uint64) {
	st, at := s.clock.state.Load(), uint64(never)
	sh.Hash(h, func(p table.Place) {
		e := p.Entry()
		if e.Expiry() != 0 {
			at = min(at, st.due(e))
		}
		if s.age.Load() > 0 {
			if _, replacedBy, ok := sh.Oldest(e); ok {
				at = min(at, s.agesAt(st, replacedBy))
			}
		}
	})
	if at != never {
		s.noteAt(sh, h, at)
	}
}

// never is later than any time.
const never = 1<<64 - 1

// noteAt notes that something of the keys with this hash is due at this time; sh, theirs, is locked.
func (s *Store) noteAt(sh *shard, h, at uint64) {
	was := sh.due.memory()
	if sh.due == nil {
		sh.due = newCalendar(s.clock.now().latest())
	}
	sh.due.add(h, at)
	s.budget.Take(sh.due.memory()-was, true)
}
