package store

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"kv/store/table"
)

// Some entries in the journal of a store that proposes are neither a value nor a deletion of a key, but concern the whole
// store: what time it is, that history is dropped, and how much history is kept. Each has an empty key, and is a deletion
// with a value of one byte, as an erasure is; a number stands in the place of the expiry.
const (
	controlPurge    = 0
	controlPurgeAll = 1
	controlTime     = 2
	controlForget   = 3
	controlDepth    = 4
	controlAge      = 5
)

// control returns which of these e is, -1 for none.
func (e *Entry) control() int {
	if e.vlen != 1|flagBit {
		return -1
	}
	return int(e.bytes(e.keyAt()+e.keyLen(), 1)[0])
}

// NewTime makes an entry, as a journal read it, that says what time it is for everything behind it, in Unix milliseconds:
// see Entry.Time.
func NewTime(version, now uint64) *Entry { return newControl(version, controlTime, now) }

// NewForget makes an entry, as a journal read it, that says that earlier versions of keys up to the version oldest are
// dropped: see Entry.Forget.
func NewForget(version, oldest uint64) *Entry { return newControl(version, controlForget, oldest) }

func newControl(version uint64, kind byte, n uint64) *Entry {
	e := buildEntry(nil, []byte{kind}, max(n, 1), flagBit)
	e.version = version
	return e
}

// Time returns the time, in Unix milliseconds, that the entry says it is, and whether the entry says so. Only a [Replica] is
// given such entries.
func (e *Entry) Time() (now uint64, is bool) { return e.Expiry(), e.control() == controlTime }

// Forget returns the version up to which earlier versions are dropped, and whether the entry says so. Only a [Replica] is
// given such entries.
func (e *Entry) Forget() (oldest uint64, is bool) { return e.Expiry(), e.control() == controlForget }

// applyControl is Apply of an entry that concerns the whole store, or of erasures.
func (s *Store) applyControl(version uint64, entries []*Entry) error {
	e := entries[0]
	if now, is := e.Time(); is {
		s.table.LockAll(allShards)
		defer s.table.UnlockAll(allShards)
		s.setTime(now)
		return nil
	}
	if oldest, is := e.Forget(); is {
		s.dropped.Add(s.forgetAll(version, oldest))
		return nil
	}
	if is, err := s.applyHistory(version, e); is {
		return err
	}
	var set table.ShardSet
	for _, e := range entries {
		set.Add(table.ShardOf(s.hash(e.Key())))
	}
	s.table.LockAll(set)
	defer s.table.UnlockAll(set)
	erased := 0
	for _, e := range entries {
		purge, all := e.Purge()
		if !purge {
			return errors.New("an erasure and another write in one")
		}
		h := s.hash(e.Key())
		sh := s.shardOf(h)
		p := sh.Find(h, e.Key())
		if versionOf(p.Entry()) < version {
			erased += s.erase(sh, h, e.Key(), all, version)
		}
	}
	s.purges.set(version, erased)
	return nil
}

// forgetAll drops earlier versions up to oldest, as the entry of this version says, and returns how many. Versions that
// became history after that entry stay, so it may be called later than the writes behind the entry.
func (s *Store) forgetAll(version, oldest uint64) (dropped uint64) {
	for i := range s.shards {
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) {
			dropped += uint64(s.forget(sh, key, func(old Found, replacedBy uint64) bool {
				return old.Version() <= oldest && replacedBy < version
			}))
		})
	}
	return dropped
}

// forgets collects the entries of a state that is being loaded which say that history is dropped, or how much is kept. They
// are carried out in their order once everything is loaded.
type forgets struct {
	mu  sync.Mutex // guards all; a leaf
	all []*Entry
}

func (f *forgets) add(e *Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, e)
}

// take returns the entries, in the order of their versions, and removes them.
func (f *forgets) take() []*Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.all
	f.all = nil
	slices.SortFunc(all, func(a, b *Entry) int { return cmp.Compare(a.version, b.version) })
	return all
}

// setTime advances both clocks to now, unless they are ahead. All shards are locked, or the store is being loaded.
func (s *Store) setTime(now uint64) {
	for _, c := range []*atomic.Uint64{&s.appliedClock, &s.aheadClock} {
		for {
			if was := c.Load(); was >= now || c.CompareAndSwap(was, now) {
				break
			}
		}
	}
}

// Time returns the time of a store that proposes, in Unix milliseconds, as of what was applied: what a snapshot has to
// have in it, as an entry made by NewTime.
func (s *Store) Time() uint64 { return s.appliedClock.Load() }

// wallMillis is the time that a store which proposes gives keys their expiry by: the wall clock, or that of the journal
// if it is ahead. Time stands still then.
func (s *Store) wallMillis() uint64 { return max(s.wallMicros()/1000, s.aheadClock.Load()) }

// wallMicros is the system's wall clock, in Unix microseconds.
func (s *Store) wallMicros() uint64 {
	wall, _ := s.wall()
	return uint64(max(wall, 0))
}

// proposeTime puts the time into the journal if something is due by now that is not by what is there.
func (s *Store) proposeTime() error {
	now := s.wallMillis()
	if now <= s.aheadClock.Load() || !s.dueBy(now) && !s.sweeper.holdsNotes.Load() { // something may be due of a note that a sweep holds
		return nil
	}
	s.table.LockAll(allShards) // no write is between its conditions and its place in the journal: see (5)
	defer s.table.UnlockAll(allShards)
	version, err := s.order([]*Entry{NewTime(0, now)})
	if err != nil {
		return err
	}
	s.aheadClock.Store(now)
	s.aheadSince = version
	return nil
}

// dueBy reports whether a note of any shard is for this time or an earlier one.
func (s *Store) dueBy(now uint64) bool {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.Lock()
		due := sh.due.dueBy(now)
		sh.Unlock()
		if due {
			return true
		}
	}
	return false
}

// dueBy reports whether a note is for this time, in milliseconds, or an earlier one, or may be.
func (c *calendar) dueBy(now uint64) bool {
	if c == nil {
		return false
	}
	_, _, start, ok := c.first()
	return ok && start <= c.tick(now)
}

// proposeForget gives up the older part of the history, everywhere, and waits for that.
func (s *Store) proposeForget() bool {
	s.dropping.Lock()
	defer s.dropping.Unlock()
	oldest, ok := s.oldPart()
	if !ok {
		return false
	}
	s.table.LockAll(allShards)
	version, err := s.order([]*Entry{NewForget(0, oldest)})
	if err == nil {
		s.erasing.Store(version)
	}
	s.table.UnlockAll(allShards)
	if err != nil || s.journal.Wait(version) != nil {
		return false
	}
	s.tidy(true)
	return true
}

// pendingPurges has the purges that were proposed and wait to be applied, which tells how many versions they erase.
type pendingPurges struct {
	mu sync.Mutex     // guards of; a leaf
	of map[uint64]int // versions erased, by the purge's version; -1: not applied yet
}

// expect is called when a purge was proposed, before it can be applied.
func (o *pendingPurges) expect(version uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = make(map[uint64]int)
	}
	o.of[version] = -1
}

// set is called when a purge is applied, which has erased n versions.
func (o *pendingPurges) set(version uint64, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, expected := o.of[version]; expected {
		o.of[version] = n
	}
}

// take removes a purge and returns how many versions it has erased; ok is false if it was not applied.
func (o *pendingPurges) take(version uint64) (n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok = o.of[version]
	delete(o.of, version)
	return n, ok && n >= 0
}

// abandon removes the purges that were not applied.
func (o *pendingPurges) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for v, n := range o.of {
		if n < 0 {
			delete(o.of, v)
		}
	}
}
