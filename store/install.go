package store

import (
	"fmt"
	"slices"

	"kv/store/table"
)

// errReplaced is the error of reads during which all that they read was replaced. It matches ErrReadOnly and, as do
// others that pass by themselves, ErrNoMajority.
var errReplaced = replacedError{}

type replacedError struct{}

func (replacedError) Error() string {
	return "what this node holds was replaced by a snapshot while it was read: try again"
}

func (replacedError) Is(target error) bool { return target == ErrReadOnly || target == ErrNoMajority }

// Install puts the state of another replica in the place of all that the store holds: fill gives it to load, as a
// journal's Replay does, from several goroutines if it likes, all versions of a key in one call, the time among them as
// NewTime makes it. Behind it records come by Apply again, from any that the state may lack on. Nothing is refused.
//
// It takes its time, and a reader meanwhile sees some of the one state and some of the other. So the replica lets no
// read begin from before until the state is one again, and of reads that had begun Flush says that they are void; so
// does Walk. It may not be called while Apply is. The error is fill's, or says that there is no memory: then the store
// is of no use any more.
//
// Rejected: to build a second table beside this one and to swap the two. It would take the memory of both, and a swap
// at one instant is worth nothing, since what is installed is a state only once the records behind it have been
// applied.
func (s *Store) Install(fill func(load func(entries []*Entry)) error) error {
	s.applier.mu.Lock()
	defer s.applier.mu.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	s.sweeper.mu.Lock() // calendars begin anew
	defer s.sweeper.mu.Unlock()
	s.installs.Add(1)
	defer s.installs.Add(1)
	s.Abandon()
	for i := range s.shards {
		s.wipe(&s.shards[i])
	}
	s.setLoading(true, false)
	before := s.unloaded.Load()
	err := fill(s.load)
	s.setLoading(false, false)
	if err != nil {
		return fmt.Errorf("install a state: %w", err)
	}
	s.loaded()
	if n := s.unloaded.Load() - before; n > 0 {
		return fmt.Errorf("install a state: no memory for %d entries: %w", n, errNoMemory)
	}
	return nil
}

// setLoading says whether a state is being loaded: of each key in any order, and whatever the limit says. With alone
// nobody reads meanwhile.
func (s *Store) setLoading(on, alone bool) {
	s.table.LockAll(allShards)
	s.loading = on
	s.table.UnlockAll(allShards)
	s.table.Loading(on, alone)
}

// wipe removes all that sh has, a segment at a time.
func (s *Store) wipe(sh *shard) {
	var keys [][]byte
	first := uint64(sh.Index()) << (64 - shardBits)
	for h := first; ; {
		sh.Lock()
		keys = keys[:0]
		last := sh.Segment(h, func(e Found) { keys = append(keys, slices.Clone(e.Key())) })
		for _, k := range keys {
			s.forget(sh, k, func(Found, uint64) bool { return true })
			p := sh.Find(s.hash(k), k)
			if e := p.Entry(); e.Exists() {
				sh.account(counted(e, -1))
				sh.Delete(&p, e.Version())
			}
		}
		sh.Unlock()
		if h = last + 1; h == 0 || table.ShardOf(h) != sh.Index() {
			break
		}
	}
	sh.Lock()
	defer sh.Unlock()
	s.budget.Give(sh.due.memory())
	sh.due = nil
	sh.Drain()
}
