package store

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// How much history a store keeps is fixed by its Options where it is alone. Of several replicas each has to keep the
// same, or they would not show the same: so there it is in the journal, and changes for each of them at the same place
// in it. Whether any is kept at all is fixed for each: an entry has room for what leads to its earlier versions, or it
// has not.

// errHistoryFixed is the error of a change from none to some, or from some to none.
var errHistoryFixed = errors.New("whether history is kept can't be changed")

// HistoryDepth is how many earlier versions of a key are kept: Options.History, or what the journal has said since.
func (s *Store) HistoryDepth() int { return int(s.depth.Load()) }

// HistoryAge is how long they are kept at most: Options.HistoryAge, or what the journal has said since.
func (s *Store) HistoryAge() time.Duration { return time.Duration(s.age.Load()) * time.Microsecond }

// NewDepth makes an entry that says, as a journal read it, that no more than so many earlier versions of each key are
// kept from then on: see Entry.Depth.
func NewDepth(version uint64, depth int) *Entry {
	return newControl(version, controlDepth, uint64(depth))
}

// NewAge makes an entry that says, as a journal read it, how long an earlier version is kept from then on, 0: for any
// time. See Entry.Age.
func NewAge(version uint64, age time.Duration) *Entry {
	return newControl(version, controlAge, uint64(age.Microseconds())+1)
}

// Depth returns how many earlier versions of each key are kept from this entry on, and whether it says so. Only a
// [Replica] sees such.
func (e *Entry) Depth() (depth int, is bool) {
	return int(min(e.Expiry(), math.MaxInt32)), e.control() == controlDepth
}

// Age returns how long an earlier version is kept from this entry on, 0: for any time, and whether it says so. Only a
// [Replica] sees such.
func (e *Entry) Age() (age time.Duration, is bool) {
	return time.Duration(min(e.Expiry()-1, math.MaxInt64/1000)) * time.Microsecond, e.control() == controlAge
}

// SetHistory has a store that proposes keep so many earlier versions of each key, and for so long, 0: for any time,
// once the journal says so: it does not wait for that. What was kept of more is given up then. The errors are those of
// a write, or say that history can't be begun or ended.
func (s *Store) SetHistory(depth int, age time.Duration) error {
	if depth < 1 || age < 0 || !s.keeps {
		return fmt.Errorf("keep %d versions for %v: %w", depth, age, errHistoryFixed)
	}
	s.table.LockAll(allShards)
	defer s.table.UnlockAll(allShards)
	for _, e := range []*Entry{NewDepth(0, depth), NewAge(0, age)} {
		version, err := s.order([]*Entry{e})
		if err != nil {
			return err
		}
		s.erasing.Store(version)
	}
	return nil
}

// applyHistory carries out what NewDepth or NewAge says, if it is one of those. One that comes again changes nothing
// but what it has changed before.
func (s *Store) applyHistory(version uint64, e *Entry) (is bool, err error) {
	depth, isDepth := e.Depth()
	age, isAge := e.Age()
	switch {
	case !isDepth && !isAge:
		return false, nil
	case !s.keeps || isDepth && depth < 1:
		return true, errHistoryFixed
	}
	s.table.LockAll(allShards)
	if isDepth {
		s.depth.Store(int64(depth))
	} else {
		s.age.Store(age.Microseconds())
	}
	s.table.UnlockAll(allShards)
	if isDepth {
		s.shorten(version, depth)
	} else {
		s.noteAges()
	}
	return true, nil
}

// shorten gives up what was history at this version beyond so many of each key. What has become history since, in a
// state that is newer, was not meant.
func (s *Store) shorten(version uint64, depth int) {
	for i := range s.shards {
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) {
			p := sh.Find(s.hash(key), key)
			n, replacedBy := 0, p.Entry().Version()
			sh.Revisions(&p, func(e Found) bool {
				if replacedBy <= version {
					n++
				}
				replacedBy = e.Version()
				return true
			})
			s.forget(sh, key, func(Found, uint64) bool {
				n--
				return n >= depth
			})
		})
	}
}

// noteAges notes when what is kept will be too old.
func (s *Store) noteAges() {
	if s.age.Load() == 0 {
		return
	}
	for i := range s.shards {
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) { s.note(sh, s.hash(key)) })
	}
}

// keepLoaded is how much history a key may have that is loaded: of a replica as much as comes, since a state has parts
// that are newer than what says how much is kept, and what is behind it makes that right.
func (s *Store) keepLoaded() int {
	if s.replica != nil {
		return math.MaxInt32
	}
	return s.HistoryDepth()
}
