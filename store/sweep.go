package store

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/store/table"
)

// Expired keys are absent for readers at once. The sweeper deletes them soon after, as any client could: within a second,
// unless very many expire together. It also drops history that is older than Options.HistoryAge.
//
// It finds them by each shard's calendar. What holds: for every hash of which something will be due, the calendar has a
// note that is not later, or the sweeper has just taken it. A write that puts an expiry off, as by setting a new time to
// live, leaves the old note as it is; when the note's time comes, the sweeper finds nothing due and notes the hash again.
// So a key has about one note, however often it is written. Notes of deleted keys are of no use any more; they are dropped
// once there are as many of them as there are others.

const (
	// sweepEvery is how often expired keys are deleted; they take memory, and count, until then.
	sweepEvery = 250 * time.Millisecond
	// proposeEvery is how often a store that proposes does so, and looks whether its time must go on.
	proposeEvery = 50 * time.Millisecond
	// followerSweeps: a replica that does not lead drops old history in one of so many sweeps.
	followerSweeps = 20

	// spareNotes is how many useless notes a calendar may have, besides as many as are of use.
	spareNotes = 1024
	// keepDue is the most hashes that room is kept for between two sweeps.
	keepDue = 1 << 16
	// takeAtOnce is how many notes are taken out of a calendar while its shard is locked.
	takeAtOnce = 256
	// chunkBytes is about what the deletions of table.WarmAtOnce keys take in the journal.
	chunkBytes = 4 << 10
)

// A sweep leaves the processor and the journal to others, however much expires at once.
const (
	// restAfter is how many hashes are swept, in about half a millisecond, before the sweeper sleeps for sweepRest. On one
	// busy core others would else wait until Go's scheduler stops the sweeper, after 10 ms.
	restAfter = 1024
	sweepRest = 100 * time.Microsecond
	// mostProposed is about how many proposed deletions may wait to be applied; others' writes, and the time, queue behind
	// them. proposedRest is how often the sweeper looks whether they are applied.
	mostProposed = 512
	proposedRest = time.Millisecond
)

// sweeper is what the sweeps keep from one to the next.
type sweeper struct {
	// mu is held for a whole sweep, and taken before any shard's lock. It guards the fields below but holdsNotes; and
	// whoever holds it finds no note missing from the calendars.
	mu sync.Mutex
	// state is the clock's as it was when all notes were last looked at.
	state *clockState
	due   []uint64 // the hashes whose notes were taken from a shard; its memory is used again
	// holdsNotes says that notes were taken from a calendar and not put back yet. It is stored with the notes' shard
	// locked, as they are taken, so whoever finds a note gone finds this set.
	holdsNotes atomic.Bool
	sinceRest  int // hashes swept since the sweeper slept
	// proposed are the hashes of keys whose deletion was proposed. They have no note until the proposals are applied, or the
	// sweep ends; newest is the version of the last of these proposals.
	proposed []uint64
	newest   uint64
	epoch    uint64 // the journal's when the sweep began
	count    uint   // sweeps
	free     int64  // bytes of resident memory that were free when it was last tidied up; see freeing
}

// sweep deletes what has expired. In a store that proposes it first has the time go on.
func (s *Store) sweep() {
	s.tellTime()
	s.sweepDue()
}

// tellTime proposes what time it is, if this replica leads and something is due: keys expire by that.
func (s *Store) tellTime() {
	if s.replica != nil && s.replica.Epoch()%2 == 1 {
		_ = s.proposeTime() // where the journal takes nothing, another replica leads, or the next attempt succeeds
	}
}

// sweepDue deletes what has expired, and drops history that is too old.
func (s *Store) sweepDue() {
	w := &s.sweeper
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.replica == nil {
		s.followClock()
	} else {
		w.epoch = s.replica.Epoch()
	}
	now := s.clock.now()
	all := w.state != nil && w.state.reach(now.state)
	if all || w.state == nil {
		w.state = now.state
	}
	s.watchReaders()
	if w.count++; w.count%compactEvery == 0 {
		s.tidy(false)
	}
	if s.replica != nil && !s.leads() && (s.age.Load() == 0 || w.count%followerSweeps != 0) {
		return // only the leader deletes what has expired
	}
	defer w.holdsNotes.Store(false)
	defer s.noteProposed()
	for i := range s.shards {
		if s.sweepShard(&s.shards[i], now, all) != nil {
			return // the store takes no writes now
		}
	}
}

// sweepShard is sweepDue for one shard; with all it looks at each hash that has a note, due or not.
func (s *Store) sweepShard(sh *shard, now moment, all bool) error {
	if sh.crowded(s) || all {
		if err := s.sweepAll(sh, now); err != nil {
			return err
		}
	}
	w := &s.sweeper
	w.due = s.takeDue(w.due[:0], sh, now)
	err := s.sweepHashes(sh, w.due, now)
	if cap(w.due) > keepDue {
		w.due = nil
	}
	return err
}

// takeDue takes the notes that are due by now out of the calendar of sh and appends their hashes.
func (s *Store) takeDue(due []uint64, sh *shard, now moment) []uint64 {
	for more := true; more; {
		sh.Lock()
		was := sh.due.memory()
		due, more = sh.due.take(due, now.latest(), takeAtOnce)
		if len(due) > 0 {
			s.sweeper.holdsNotes.Store(true)
		}
		s.budget.Take(sh.due.memory()-was, true)
		sh.Unlock()
	}
	return due
}

// crowded reports whether the calendar of sh has many more notes than it needs, or comes to the end of its ticks.
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

// sweepAll is sweepHashes of all hashes that have a note in sh, in a new calendar.
func (s *Store) sweepAll(sh *shard, now moment) error {
	sh.Lock()
	old := sh.due
	sh.due = nil
	s.sweeper.holdsNotes.Store(true)
	s.budget.Give(old.memory())
	sh.Unlock()
	var all []uint64
	old.each(func(hash uint64, _ uint32) { all = append(all, hash) })
	return s.sweepHashes(sh, all, now)
}

// sweepHashes deletes and drops what is due of the keys with these hashes, whose notes were taken out of the calendar of
// sh, and notes when more of them will be due. The error is that of a store that takes no writes.
func (s *Store) sweepHashes(sh *shard, hashes []uint64, now moment) (err error) {
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	for chunk := range slices.Chunk(hashes, table.WarmAtOnce) {
		left, need, again := chunk, chunkBytes, true
		for again && err == nil {
			var refused error
			if s.replica == nil || s.leads() {
				refused = s.admit(need)
			}
			left, err = s.sweepChunk(sh, left, now, refused)
			if need, again = notAdmitted(err); again {
				err = nil
			}
		}
		if err != nil {
			sh.Lock()
			for _, h := range left {
				s.noteAt(sh, h, 0) // for the next sweep
			}
			sh.Unlock()
			continue
		}
		s.rest(len(chunk))
	}
	return err
}

// rest lets others have the processor, and the journal, after n more hashes were swept, if it is time for that.
func (s *Store) rest(n int) {
	w := &s.sweeper
	if w.sinceRest += n; w.sinceRest >= restAfter {
		w.sinceRest = 0
		time.Sleep(sweepRest)
	}
	if len(w.proposed) >= mostProposed {
		for s.replica.Durable() < w.newest && s.replica.Epoch() == w.epoch && !s.closed.Load() {
			time.Sleep(proposedRest)
		}
		s.noteProposed()
	}
}

// leads reports whether this replica takes writes, and has done so since the sweep began. sweeper.mu is held.
func (s *Store) leads() bool { return s.sweeper.epoch%2 == 1 && s.replica.Epoch() == s.sweeper.epoch }

// noteProposed notes when something will be due of the keys whose deletion was proposed. If that is applied there is
// nothing to note.
func (s *Store) noteProposed() {
	w := &s.sweeper
	for _, h := range w.proposed {
		sh := s.shardOf(h)
		sh.Lock()
		s.note(sh, h)
		sh.Unlock()
	}
	w.proposed = w.proposed[:0]
}

// sweepChunk is sweepHashes of so few that the lock of sh is not held for long. refused, if not nil, is why nothing may be
// deleted; old history is dropped all the same. With an error left has the hashes that were not swept.
func (s *Store) sweepChunk(sh *shard, hashes []uint64, now moment, refused error) (left []uint64, err error) {
	sc := takeScratch()
	defer sc.give()
	sh.Lock()
	defer sh.Unlock()
	sh.Warm(hashes) // keys that expire together lie anywhere in memory
	for i, h := range hashes {
		stays, proposed := false, len(s.sweeper.proposed)
		sh.Hash(h, func(p table.Place) {
			e := p.Entry()
			if err != nil || e.Deleted() || !expiredAt(e, now) || s.replica != nil && (!s.leads() || sh.pending(e.Key())) {
				stays = true
				return
			}
			if err = refused; err != nil {
				return
			}
			err = s.expire(sh, &p, sc.tombstone(e.Key()))
			stays = stays || s.keeps // as history
			sc.used = 0
		})
		if err != nil {
			return hashes[i:], err
		}
		if stays {
			s.dropOld(sh, h, now)
		}
		if stays && len(s.sweeper.proposed) == proposed {
			s.note(sh, h)
		}
	}
	return nil, nil
}

// expire deletes the key of p, which has expired, or proposes that; e is the deletion. sh is locked.
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

// dropOld drops the history of the keys with this hash that is too old. Their shard, sh, is locked.
func (s *Store) dropOld(sh *shard, h uint64, now moment) {
	if s.age.Load() == 0 {
		return
	}
	var keys [][]byte
	sh.Hash(h, func(p table.Place) { keys = append(keys, slices.Clone(p.Entry().Key())) })
	for _, k := range keys {
		s.forget(sh, k, func(_ Found, replacedBy uint64) bool { return s.tooOld(replacedBy, now) })
	}
}

// needsNote reports whether the calendar needs a note for the key of e once e has replaced cur (or nothing, if cur does
// not exist), because something will be due earlier than for cur. keep is how many versions of history the key may have.
// sh is locked.
func (s *Store) needsNote(sh *shard, cur Found, e *Entry, keep int) bool {
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

// note adds a note of when the first thing will be due of the keys with this hash, if anything will. Their shard, sh, is
// locked.
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

// never is later than any time, in Unix milliseconds.
const never = 1<<64 - 1

// noteAt adds a note that something of the keys with this hash is due at this time, in Unix milliseconds. Their shard, sh,
// is locked.
func (s *Store) noteAt(sh *shard, h, at uint64) {
	was := sh.due.memory()
	if sh.due == nil {
		sh.due = newCalendar(s.clock.now().latest())
	}
	sh.due.add(h, at)
	s.budget.Take(sh.due.memory()-was, true)
}
