// Package store is an in-memory map from keys to values, both any bytes, made for many readers: reading takes no lock and
// writes no shared memory, and a change of many keys is seen whole or not at all.
//
// A [Store] is opened once; each goroutine that uses it has a [Session]:
//
//	s, err := store.Open(store.Options{})
//	c := s.Session()
//	defer c.Close()
//	c.Set([]byte("greeting"), []byte("hello"), store.SetOptions{})
//	if e := c.Get([]byte("greeting")); e != nil {
//		fmt.Printf("%s\n", e.Value())
//	}
//
// What a session returns is a copy and may be kept, but for what a [View] shows: that is where the store has it, costs
// nothing, and must not be looked at any more once the view is closed.
//
// Keys and values lie in memory of the store's own, beside the collector's, in a [table.Table]; the store adds what the
// table knows nothing of: conditions, versions, a journal, time, history and limits. See docs/memory.md and
// docs/concurrency.md.
package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"kv/store/arena"
	"kv/store/table"
)

// Store is a map from keys to values. All its methods, and the sessions that it hands out, work side by side.
type Store struct {
	// Fixed after Open.
	hashMask  uint64 // all ones; tests clear bits to make hashes collide
	journal   Journal
	evicts    bool // see evict.go
	keeps     bool // earlier versions are kept
	instance  uint64
	logger    *slog.Logger
	recovered uint64        // the highest version in the journal when it was opened
	loading   bool          // a state is being loaded; stored with all shards locked
	unloaded  atomic.Uint64 // entries of the journal that there was no memory for

	// depth is how many earlier versions of a key are kept, and age for how many microseconds at most after they were
	// replaced; 0: for any time. Apply stores them with all shards locked, so they stay while a shard is locked.
	depth, age atomic.Int64

	clock clock
	wall  func() (wall, mono int64) // the system's clocks, in microseconds. Fixed

	// Of a store that is one of several; else nil and zero.
	replica Replica // the journal. Fixed
	purges  pendingPurges
	// installs rises when Install begins and when it ends, so it is odd in between. A reader that finds the same even number
	// before and after has read nothing of a state that is being installed.
	installs atomic.Uint64
	// The time by which keys expire, in Unix milliseconds: for readers appliedClock, the time that was applied last; for
	// writes aheadClock, the time that was proposed last, which is never behind. Both are stored with all shards locked, so
	// they stay while a shard is locked. Readers load the first without a lock.
	appliedClock, aheadClock atomic.Uint64
	// aheadSince is the version of the proposal that aheadClock is from; 0 once that is applied, or if it is another
	// replica's. Stored with all shards locked.
	aheadSince uint64
	// erasing is the version of the newest proposal that drops history; 0: there was none. It is stored with the shards
	// locked whose history is dropped, so a write with one of them locked knows of all such proposals before it.
	erasing atomic.Uint64

	table  *table.Table
	shards [shardCount]shard

	// versions is the last version that was given, where there is no journal to give versions; it publishes nothing else.
	// Every write stores it, so it is on a cache line of its own.
	_        [56]byte
	versions atomic.Uint64
	_        [56]byte
	budget   budget
	overrun  overrun
	beside   besides
	readers  readers
	eviction eviction
	vain     atomic.Int64 // bytes in use when tidying up last gave back nothing; publishes nothing

	// Counts for Stats; they publish nothing.
	expirations atomic.Uint64 // keys that the sweeper removed
	evicted     atomic.Uint64 // keys that were evicted
	dropped     atomic.Uint64 // earlier versions that were dropped for want of memory

	dropping sync.Mutex // held by the one write that gives up history
	sweeper  sweeper

	sessionsMu sync.Mutex
	sessions   map[*Session]struct{} // the open ones; guarded by sessionsMu
	ended      counts                // of the closed ones; guarded by sessionsMu

	// closed publishes nothing. A write loads it again under its locks, which Close takes after it has stored it.
	closed     atomic.Bool
	applier    applier
	forgets    forgets
	stop       chan struct{}  // closed by Close; ends what runs in the background
	background sync.WaitGroup // the goroutines of every
}

// Open makes a store and, if it has a journal, fills it with what the journal holds. Close it when it is no longer used.
func Open(o Options) (*Store, error) {
	s, err := open(o, ^uint64(0), systemClock, memoryFor(o.MaxMemory))
	if err != nil {
		return nil, err
	}
	if s.replica == nil {
		s.clock.mono = systemMono
		s.every(sweepEvery, func(late time.Duration) {
			s.tellStopped(late)
			s.sweep()
		})
	} else {
		s.every(proposeEvery, func(time.Duration) { s.tellTime() }) // beside the sweep, which may take long
		s.every(proposeEvery, func(late time.Duration) {
			s.tellStopped(late)
			s.sweepDue()
		})
	}
	return s, nil
}

// every calls f at this interval until Close; late is by how much a call missed its time.
func (s *Store) every(interval time.Duration, f func(late time.Duration)) {
	s.background.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			begin := time.Now()
			select {
			case <-s.stop:
				return
			case <-tick.C:
				f(time.Since(begin) - interval)
			}
		}
	})
}

// stoppedLong is how late a sweep is before the log says so.
const stoppedLong = 2 * time.Second

// tellStopped logs that the process did not run for a while, which explains why no client was answered.
func (s *Store) tellStopped(late time.Duration) {
	if late >= stoppedLong {
		s.logger.Warn("the process did not run: it was stopped, or the machine had no time for it",
			"for", late.Round(time.Millisecond).String())
	}
}

// check says what is wrong with the options.
func (o Options) check() error {
	if o.History < 0 {
		return fmt.Errorf("history of %d versions: it must be 0 or more", o.History)
	}
	if o.HistoryAge < 0 || o.HistoryAge > 0 && o.HistoryAge < time.Millisecond {
		return fmt.Errorf("history of %v: it must be a millisecond or more, or 0 for any time", o.HistoryAge)
	}
	if o.Evict && o.History > 0 {
		return errors.New("both eviction and history: what is evicted would be kept")
	}
	if o.Evict && o.Proposes {
		return errors.New("both eviction and proposing: what one replica evicts by itself, the others would keep")
	}
	if o.MaxMemory < 0 {
		return fmt.Errorf("memory limit of %d bytes: it must be above 0, or 0 for none", o.MaxMemory)
	}
	if _, ok := o.Journal.(Replica); o.Proposes && !ok {
		return errors.New("a store that proposes needs a journal that is a replica")
	}
	return nil
}

// open is Open without a sweeper of its own.
func open(o Options, hashMask uint64, read func() (wall, mono int64), memory arena.Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Store{
		hashMask: hashMask,
		journal:  o.Journal,
		evicts:   o.Evict,
		keeps:    o.History > 0,
		instance: rand.Uint64() | 1,
		logger:   o.Logger,
		sessions: make(map[*Session]struct{}),
		stop:     make(chan struct{}),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.depth.Store(int64(o.History))
	s.age.Store(o.HistoryAge.Microseconds())
	s.vain.Store(math.MaxInt64)
	s.wall = read
	if o.Proposes {
		s.replica = o.Journal.(Replica)
		read = func() (wall, mono int64) { // time is in the journal, and never goes back
			now := int64(min(s.appliedClock.Load(), math.MaxInt64/1000)) * 1000
			return now, now
		}
	}
	s.clock.start(read)
	s.sweeper.state = s.clock.state.Load()
	if s.budget.limit = o.MaxMemory; s.evicts {
		s.budget.reserve = min(o.MaxMemory/16, 8<<20)
	}
	expect := int64(0)
	if s.journal != nil {
		expect = s.journal.Expect()
	}
	s.beside.budget, s.beside.changed = &s.budget, o.Beside
	memory.Budget = &s.beside
	a, err := arena.New(memory)
	if err != nil {
		return nil, err
	}
	s.table, err = table.New(table.Options{
		Arena: a, Seed: maphash.MakeSeed(), HashMask: hashMask, Keeps: s.keeps, Marks: s.evicts,
		Expect: int(expect), Budget: &s.budget, LargeSize: entryMemory,
	})
	if err != nil {
		a.Close()
		return nil, err
	}
	for i := range s.shards {
		s.shards[i].Shard = s.table.Shard(i)
	}
	s.versions.Store(s.wallMicros())
	if s.journal != nil {
		if err := s.readJournal(); err != nil {
			s.table.Close()
			return nil, err
		}
	}
	return s, nil
}

// readJournal loads what the journal holds.
func (s *Store) readJournal() (err error) {
	s.setLoading(true, true)
	if s.recovered, err = s.journal.Replay(s.load, s.apply); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	s.setLoading(false, false)
	s.loaded()
	if n := s.unloaded.Load(); n > 0 {
		return fmt.Errorf("load the journal: no memory for %d entries", n)
	}
	return nil
}

// Close stops the store's own work. Writes fail with ErrReadOnly from then on; reads go on. The journal is its opener's to
// close, after the store.
func (s *Store) Close() error {
	if s.closed.CompareAndSwap(false, true) {
		close(s.stop)
		s.background.Wait()
		s.table.LockAll(allShards) // no write is under way any more
		s.table.UnlockAll(allShards)
	}
	return nil
}

// Instance names this run of the store: a random number, never 0.
func (s *Store) Instance() uint64 { return s.instance }
