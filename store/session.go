package store

import (
	"errors"
	"sync/atomic"

	"kv/store/table"
)

// Session is one goroutine's access to a store: it counts what it does, and knows what it has seen that is not durable
// yet. It is not for use by several goroutines at a time.
//
// Keys and values that a session is given are copied; what it returns must not be modified.
type Session struct {
	store *Store // fixed

	// The owner's alone.
	gets, sets, dels uint64 // since the session began
	misses           uint64 // gets that found nothing
	seen             uint64 // the highest version that was written, or read under a lock, since the last Flush
	reader           *table.Reader

	// Of a store that is one of several, since the last Flush.
	began, wrote bool // there was a write, or what may have become one; it was given a version
	mixed        bool // not in the same epoch as another, as far as is known
	confirm      bool // an answer tells what a write saw that has written nothing
	// reads is whether Begin has returned, flushed whether there was a Flush since, and installs is Store.installs, as
	// it was then.
	reads, flushed bool
	installs       uint64
	epoch          uint64 // the journal's, before the first write; of those that were given versions, the one in which they were
	first, last    uint64 // those versions

	// published is what other goroutines see of the counts; the owner stores, Stats loads.
	published counts

	// It is 128 bytes, and what Go allocates of that size begins at a multiple of it: another session's counts are on another
	// cache line.
}

// counts are numbers of operations, on keys.
type counts struct {
	gets, misses, sets, dels atomic.Uint64
}

// Session returns a new session. Close it when it is no longer used.
func (s *Store) Session() *Session {
	c := &Session{store: s, reader: s.table.Reader("a session")}
	c.reader.Other = c.other
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	s.sessions[c] = struct{}{}
	return c
}

// Close ends the session; its counts stay in the store's Stats. To read with it afterwards panics; to close it again does
// nothing.
func (c *Session) Close() {
	s := c.store
	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	if _, open := s.sessions[c]; !open {
		return
	}
	delete(s.sessions, c)
	c.reader.Close()
	s.ended.gets.Add(c.gets)
	s.ended.misses.Add(c.misses)
	s.ended.sets.Add(c.sets)
	s.ended.dels.Add(c.dels)
}

// publish makes the counts visible to others: gets before misses, which are never more.
func (c *Session) publish() {
	if c.published.gets.Load() != c.gets {
		c.published.gets.Store(c.gets)
	}
	if c.published.misses.Load() != c.misses {
		c.published.misses.Store(c.misses)
	}
	if c.published.sets.Load() != c.sets {
		c.published.sets.Store(c.sets)
	}
	if c.published.dels.Load() != c.dels {
		c.published.dels.Store(c.dels)
	}
}

// Flush waits until a crash can't undo anything that the session has written or read, as far as the journal's sync policy
// promises, and adds the session's counts to the store's Stats. No answer should leave the process before Flush has
// returned. An error, which matches ErrReadOnly, means that what was read or written since the last Flush may be lost.
func (c *Session) Flush() error {
	c.publish()
	j := c.store.journal
	seen := max(c.seen, c.reader.Seen())
	c.seen = 0
	if j == nil {
		return nil
	}
	var err error
	if seen > j.Durable() {
		err = j.Wait(seen)
	}
	if r := c.store.replica; r != nil {
		return c.settle(r, err)
	}
	return err
}

// see notes that this version was written or read.
func (c *Session) see(version uint64) {
	if version > c.seen {
		c.seen = version
	}
}

// Set gives key a value and returns the version of that. Errors: *ConflictError, ErrOutOfMemory, ErrReadOnly, ErrTooLarge,
// ErrTwoExpiries.
func (c *Session) Set(key, value []byte, o SetOptions) (version uint64, err error) {
	if err := checkLen(key, value); err != nil {
		return 0, err
	}
	if err := checkExpiry(o.TTL, o.ExpireAt); err != nil {
		return 0, err
	}
	s := c.store
	h := s.hash(key)
	s.table.Prefetch(h) // early: it takes as long as a cache miss
	if err := s.admitCopies(len(value)); err != nil {
		return 0, err
	}
	if !o.Conditional && table.IsLarge(len(value)) && s.refuses([]Pair{{key, value}}) {
		return 0, ErrOutOfMemory
	}
	sc := takeScratch()
	defer sc.give()
	version, err = c.commitOne(change{
		hash:        h,
		entry:       s.newValue(sc, key, value, o.TTL, o.ExpireAt),
		always:      true,
		conditional: o.Conditional,
		ifVersion:   o.IfVersion,
	})
	if err != nil {
		return 0, err
	}
	c.sets++
	return version, nil
}

// Del deletes all keys at one instant and returns how many existed, a key named twice counting once, and the version of
// their deletion, 0 if none existed. It never fails for lack of memory.
func (c *Session) Del(keys [][]byte) (existed int, version uint64, err error) {
	if len(keys) == 0 {
		return 0, 0, nil
	}
	sc := takeScratch()
	defer sc.give()
	if len(keys) == 1 {
		version, err = c.commitOne(change{hash: c.store.hash(keys[0]), entry: sc.tombstone(keys[0])})
		switch {
		case err == nil:
			existed = 1
		case errors.Is(err, errNothing):
			version, err = 0, nil
		}
	} else {
		version, err = c.atomically(sc, true, nil, c.store.shardsOf(keys), func(w *commit) {
			for _, k := range keys {
				if w.del(k) {
					existed++
				}
			}
		})
	}
	if err != nil {
		return 0, 0, err
	}
	c.dels += uint64(len(keys))
	return existed, version, nil
}

// commitOne is Store.commitOne, with history given up for memory, and with what it saw noted.
func (c *Session) commitOne(ch change) (version uint64, err error) {
	c.writes()
	c.store.readers.pace()
	err = c.store.makeRoom(1<<table.ShardOf(ch.hash), func(keep int) (wanted demand, err error) {
		ch.keep = keep
		version, err = c.store.commitOne(&ch)
		return ch.entry.demand(), err
	})
	c.see(version)
	c.shows(version, err)
	return version, err
}

func checkLen(key, value []byte) error {
	if len(key) > MaxLen || len(value) > MaxLen {
		return ErrTooLarge
	}
	return nil
}
