package store

import (
	"fmt"
	"math"
	"slices"
)

// Update is a change of some keys under way: see [Session.Update]. It is for the goroutine that change runs in, and until change
// returns.
type Update struct {
	w     *commit
	keys  [][]byte            // those that may be touched
	named map[string]struct{} // the same, if they are many

	done    counter // what the update counts as
	misses  uint64
	counted bool  // by Count, which sets aside what Set and Delete would count
	err     error // the first value that can't be stored
}

// fewKeys is how many keys are looked through one by one to find whether a key is among them.
const fewKeys = 16

// Update changes keys by what they hold, all at one instant. change is called with the locks of all keys held, maybe more than
// once (each time it starts from nothing): it reads and writes those keys through u, must be quick, and must not use the store or
// block. If it returns an error, that is Update's, and nothing was applied; so if it panics. The version is 0 if nothing was
// written. Other errors are those of Set.
//
// A change that writes nothing is answered while the store is read-only too.
func (c *Session) Update(keys [][]byte, change func(u *Update) error) (version uint64, err error) {
	s := c.store
	s.readers.pace()
	s.followClock() // an expiry that change makes is of this era
	refused := s.admit(0)
	u := Update{keys: keys}
	if len(keys) > fewKeys {
		u.named = make(map[string]struct{}, len(keys))
		for _, k := range keys {
			u.named[string(k)] = struct{}{}
		}
	}
	sc := takeScratch()
	defer sc.give()
	version, err = c.atomically(sc, false, nil, c.store.shardsOf(keys), func(w *commit) {
		w.looks = true
		u = Update{w: w, keys: u.keys, named: u.named}
		switch err := change(&u); {
		case err != nil:
			w.refused = err
		case u.err != nil:
			w.refused = u.err
		case w.refused == nil && len(w.outcomes)+len(w.foreseen) > 0: // else for want of memory: it may begin again
			w.refused = refused
		}
	})
	if err != nil {
		return 0, err
	}
	c.gets += u.done.gets
	c.misses += u.misses
	c.sets += u.done.sets
	c.dels += u.done.dels
	return version, nil
}

// Get returns what key holds: of what u itself has written, the newest; not Exists() if it is absent or expired. It is
// valid until change returns. Version() of what u itself wrote is 0.
func (u *Update) Get(key []byte) Found { return u.w.current(u.hash(key), key) }

// Set gives key a value and an expiry, in Unix milliseconds, 0: none. Both are copied. An expiry that has passed deletes the key.
func (u *Update) Set(key, value []byte, expiry uint64) {
	h := u.hash(key)
	if err := checkLen(key, value); err != nil {
		if u.err == nil {
			u.err = err
		}
		return
	}
	if expiry == 0 || expiry > u.Now() {
		u.w.set(h, u.w.scratch.entry(key, value, expiry, 0))
	} else {
		u.w.set(h, u.w.scratch.tombstone(key))
	}
	if !u.counted {
		u.done.sets++
	}
}

// Delete deletes key and reports whether it existed.
func (u *Update) Delete(key []byte) (existed bool) {
	u.hash(key)
	if !u.counted {
		u.done.dels++
	}
	return u.w.del(key)
}

// Now is the store's clock in Unix milliseconds, the same for the whole of change.
func (u *Update) Now() uint64 {
	if u.w.s.replica != nil {
		return u.w.time
	}
	return u.w.now.millis()
}

// After returns the time that is so many milliseconds after Now, at most the largest uint64.
func (u *Update) After(ttl uint64) uint64 { return after(u.Now(), ttl) }

// Expiry returns when e, which Get has found, expires, by the clock as it is now: what Set takes for the key to keep
// its expiry. It differs from e's own where the clock was set back since e was written. 0: never.
func (u *Update) Expiry(e Found) uint64 {
	at := e.Expiry()
	if at == 0 || at == math.MaxUint64 {
		return at
	}
	st := u.w.now.state
	back := uint64(st.leadOf(e.Version())-st.lead) / 1000
	if back >= at {
		return 1
	}
	return at - back
}

// Count says what the update counts as in Stats: so many keys read, written and deleted. What it is told at several
// times adds up. Without it each key that is set counts as written, each that is deleted as deleted, and those that are
// read as nothing.
func (u *Update) Count(gets, sets, dels int) {
	if !u.counted {
		u.counted, u.done = true, counter{}
	}
	u.done.gets += uint64(gets)
	u.done.sets += uint64(sets)
	u.done.dels += uint64(dels)
}

// CountMisses says that so many of the keys that Count was told were read were absent.
func (u *Update) CountMisses(n int) { u.misses += uint64(n) }

// hash returns the hash of key, which must be among those that the update is of.
func (u *Update) hash(key []byte) uint64 {
	if u.named != nil {
		if _, ok := u.named[string(key)]; ok {
			return u.w.s.hash(key)
		}
	} else if slices.ContainsFunc(u.keys, func(k []byte) bool { return string(k) == string(key) }) {
		return u.w.s.hash(key)
	}
	panic(fmt.Sprintf("store: an update touches the key %.64q, which it was not given", key))
}
