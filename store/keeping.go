package store

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// How much history a store keeps is fixed by its Options if it is alone. Replicas all have to keep the same, or they would not
// show the same; so there the journal says how much, and it changes for all of them at the same place in the journal. Whether
// any history is kept at all is fixed by the Options: entries have room for a reference to earlier versions, or they don't.

// errHistoryFixed is the error of a change from none to some, or from some to none.
var errHistoryFixed = errors.New("whether history is kept can't be changed")

// HistoryDepth returns how many earlier versions of a key are kept: Options.History, or what the journal has said since.
func (s *Store) HistoryDepth() int { return int(s.depth.Load()) }

// HistoryAge returns how long they are kept at most, 0: for any time: Options.HistoryAge, or what the journal has said since.
func (s *Store) HistoryAge() time.Duration { return time.Duration(s.age.Load()) * time.Microsecond }

// NewDepth makes an entry, as a journal read it, that says that at most depth earlier versions of each key are kept from then
// on: see Entry.Depth.
func NewDepth(version uint64, depth int) *Entry {
	return newControl(version, controlDepth, uint64(depth))
}

// NewAge makes an entry, as a journal read it, that says how long an earlier version is kept from then on, 0: for any time:
// see Entry.Age.
func NewAge(version uint64, age time.Duration) *Entry {
	return newControl(version, controlAge, uint64(age.Microseconds())+1)
}

// Depth returns how many earlier versions of each key are kept from this entry on, and whether the entry says so. Only a
// [Replica] is given such entries.
func (e *Entry) Depth() (depth int, is bool) {
	return int(min(e.Expiry(), math.MaxInt32)), e.control() == controlDepth
}

// Age returns how long an earlier version is kept from this entry on, 0: for any time, and whether the entry says so. Only a
// [Replica] is given such entries.
func (e *Entry) Age() (age time.Duration, is bool) {
	return time.Duration(min(e.Expiry()-1, math.MaxInt64/1000)) * time.Microsecond, e.control() == controlAge
}

// SetHistory proposes that depth earlier versions of each key are kept, at least 1, for at most age, 0: for any time. It does
// not wait until that is applied; versions beyond are dropped then. The errors are those of a write, or say that history can't
// be begun or ended.
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
