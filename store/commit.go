package store

import (
	"errors"
	"fmt"

	"kv/store/table"
)

// How a write takes effect. What the table does with it, and why readers see it whole, is in store/table; this is what
// the store adds.
//
// What holds, and is cited by number elsewhere:
//
//	(1) A version is taken, and the journal appended to, while all locks of the write are held; so the writes of one key have rising
//	    versions, and the journal's order agrees with what readers see.
//	(2) All that a write needs of memory is there before its version is taken: nothing can fail between the journal and the
//	    instant at which readers see the write.
//
// One key: lock its shard, check, make the entry, take the version, put the entry in its place, unlock.
//
// Several keys: lock their shards in rising order, check the conditions, stage an entry for each key, take the version,
// commit, unlock. If memory or the journal refuses, or a caller's code panics, what was staged is undone, which no
// reader can tell.

// change is a write of one key.
type change struct {
	hash        uint64
	entry       *Entry // may be a deletion
	always      bool   // take a version even if it is the deletion of what does not exist
	conditional bool
	ifVersion   uint64
	// only, if not 0, is the version that must be current: for a cache, which lets go just what it saw.
	only uint64
	keep int // how much history the key may have
}

var errNothing = errors.New("nothing to change")

// commitOne writes one key. It returns the version that a reader of the key then has to wait for: the write's own, if
// it was applied. The error is errNothing for a deletion of what does not exist.
func (s *Store) commitOne(ch *change) (version uint64, err error) {
	if err := s.admit(ch.entry.size()); err != nil {
		return 0, err
	}
	if s.replica != nil {
		return s.proposeOne(ch)
	}
	sh := s.shardOf(ch.hash)
	var what table.Spec
	specInto(&what, ch.entry)
	sh.Lock()
	sh.Begin(&what)
	one := [1]outcome{{hash: ch.hash, entry: ch.entry}}
	o := &one[0]
	defer func() {
		if o.next != (table.Fresh{}) && (version == 0 || err != nil) { // the entry was not put anywhere
			sh.Drop(o.next)
		}
		sh.one[0] = nil
		sh.Unlock()
	}()
	var p table.Place
	sh.FindInto(&p, ch.hash, ch.entry.Key())
	o.cur = p.Entry()
	exists := o.cur.Exists() && !o.cur.Deleted()
	live := exists && (ch.only != 0 || !s.expired(o.cur))
	seen := max(p.Version(), versionOf(o.cur))
	if ch.only != 0 && (!exists || o.cur.Version() != ch.only) || ch.entry.Deleted() && !live && !ch.always {
		return seen, errNothing
	}
	current := uint64(0)
	if live {
		current = o.cur.Version()
	}
	if ch.conditional && current != ch.ifVersion {
		return seen, &ConflictError{Version: current}
	}

	o.only = ch.entry.Deleted() && !exists
	if !o.only && (!ch.entry.Deleted() || s.keeps) {
		must := mustFit(o.cur, ch.entry, ch.keep)
		var ok bool
		if o.next, ok = sh.Make(&what, must); !ok || !sh.Prepare(&p, must) {
			return 0, ErrOutOfMemory
		}
	}
	told := sh.one[:]
	if told[0] = ch.entry; o.only {
		told = nil
	}
	if version, err = s.order(told); err != nil {
		return 0, err
	}
	s.publish(one[:], version, ch.keep, func() { o.put(sh, &p, version, ch.keep) })
	return version, nil
}

// mustFit reports whether the write of e, in the place of cur, is never refused memory: it deletes, or makes what is
// there no longer.
func mustFit(cur Found, e *Entry, keep int) bool {
	return e.Deleted() || keep == 0 && cur.Exists() && !cur.Deleted() && e.Len() <= cur.Len()
}

// commit is a write of several keys under way. Its locks are held.
type commit struct {
	s        *Store
	scratch  *scratch
	txn      table.Txn
	begun    bool   // txn is
	now      moment // the clock, read under the locks
	time     uint64 // of a store that proposes: what expiries are counted from, in Unix milliseconds
	outcomes []outcome
	version  uint64 // when it is committed
	keep     int    // how much history each key may have
	home     *shard
	view     *table.Reader // pinned while its results may be looked at; nil: nobody does
	wanted   demand
	seen     uint64 // the highest version of what it read
	refused  error  // why it is to be undone, though it could be finished; nil: it is not
	// looks says that who stages looks at what was staged, so everything is, even if the write is refused already.
	looks bool
	must  bool // memory is taken whatever the limit says

	// Of a store that proposes, in the place of txn and outcomes.
	foreseen []foreseen
	index    map[string]int // where a key is in foreseen
}

// current returns the entry of key as the write has left it so far; none if it is absent or expired.
func (c *commit) current(h uint64, key []byte) Found {
	if c.s.replica != nil {
		return c.foresee(h, key)
	}
	p := c.s.shardOf(h).Find(h, key)
	e := p.Entry()
	if _, own := p.Mark(); !own {
		c.seen = max(c.seen, p.Version(), versionOf(e))
	}
	if e.Exists() && (e.Deleted() || expiredAt(e, c.now)) {
		return Found{}
	}
	return e
}

// set stages e, which may be a deletion.
func (c *commit) set(h uint64, e *Entry) {
	s := c.s
	if !e.Deleted() {
		c.wanted.add(e.demand())
	}
	if c.refused != nil && !c.looks {
		return
	}
	if s.replica != nil && !c.must {
		c.foresaw(h, e)
		return
	}
	if !c.begun {
		if !c.txn.Begin(c.home.Shard, true) {
			c.refused = ErrOutOfMemory
			return
		}
		c.begun = true
	}
	sh := s.shardOf(h)
	p := sh.Find(h, e.Key())
	mark, own := p.Mark()
	if !own {
		mark = uint32(len(c.outcomes))
		c.outcomes = append(c.outcomes, outcome{hash: h, cur: p.Entry()})
	}
	o := &c.outcomes[mark]
	o.entry = e
	if e.Deleted() && (!o.cur.Exists() || o.cur.Deleted()) {
		o.only = true
		if o.next != (table.Fresh{}) { // set and deleted by the same write
			if o.cur.Exists() {
				c.txn.Revert(&p)
			} else {
				c.txn.Stage(&p, table.Fresh{}, mark, true)
			}
			o.next = table.Fresh{}
		}
		return
	}
	must := c.must || c.refused != nil || mustFit(o.cur, e, c.keep)
	var f table.Fresh
	ok := true
	if !e.Deleted() || s.keeps {
		what := spec(e)
		f, ok = sh.Make(&what, must)
	}
	if ok && !c.txn.Stage(&p, f, mark, must) {
		ok = false
		if f != (table.Fresh{}) {
			sh.Drop(f)
		}
	}
	if !ok {
		again := c.refused == nil && c.looks
		if c.refused = ErrOutOfMemory; again {
			c.set(h, e) // past the limit, until it is undone
		}
		return
	}
	o.only, o.next = false, f
}

// finish makes all that was staged visible at one instant. If it returns an error, all of it is to be undone.
func (c *commit) finish() (version uint64, err error) {
	if c.s.replica != nil {
		return c.propose()
	}
	if len(c.outcomes) == 0 {
		return 0, nil
	}
	if version, err = c.s.order(c.told()); err != nil {
		return 0, err
	}
	c.publish(version)
	return version, nil
}

// publish makes all that was staged visible at one instant, as the write of this version.
func (c *commit) publish(version uint64) {
	c.version = version
	c.s.publish(c.outcomes, version, c.keep, func() {
		if c.begun {
			c.txn.Commit(version, c.keep)
		}
		for i := range c.outcomes {
			if o := &c.outcomes[i]; o.only {
				sh := c.s.shardOf(o.hash)
				p := sh.Find(o.hash, o.entry.Key())
				sh.Note(&p, version)
			}
		}
	})
}

// told returns what the journal is told: what the write leaves of each key that it changes.
func (c *commit) told() []*Entry {
	if c.s.journal == nil {
		return nil
	}
	told := c.scratch.told[:0]
	for i := range c.outcomes {
		if !c.outcomes[i].only {
			told = append(told, c.outcomes[i].entry)
		}
	}
	c.scratch.told = told
	return told
}

// undo takes what was staged back, unless it was committed.
func (c *commit) undo() {
	if c.version == 0 && c.begun {
		c.txn.Undo()
	}
}

// makeRoom runs write, and again if the journal has not admitted it, and for as long as it is refused for want of
// memory and there is something to give up for it: of history the oldest first, and last what the write's own keys
// have; or, in a cache, keys of others. keep is how much history the write's keys, which are in the shards of home, may
// have after it. wanted is about how much memory the write takes, as far as it got. A write that could not be helped by
// that takes nobody's history.
func (s *Store) makeRoom(home table.ShardSet, write func(keep int) (wanted demand, err error)) error {
	var short shortage
	keep := s.HistoryDepth()
	if s.budget.over() {
		s.tidyOver()
		keep = 0 // or what is freed would become history, and what may go past the limit would go on and on
	}
	for tidied := 0; ; {
		wanted, err := write(keep)
		size, again := notAdmitted(err)
		short.demand = wanted
		switch {
		case again:
			if err := s.admit(size); err != nil {
				return err
			}
		case err == nil || !errors.Is(err, ErrOutOfMemory):
			return err
		case s.evicts && s.evict(home, &short):
		case s.hopeless(wanted.bytes):
			if keep == 0 || s.replica != nil {
				return err
			}
			keep = 0 // what gets no longer fits without a past, and takes nobody else's
		case s.replica != nil:
			if !s.keeps || !s.proposeForget() {
				return err
			}
		case tidied < mostTidied && s.roomy(wanted.bytes):
			tidied++
			s.tidy(true)
		case s.dropHistory(wanted.bytes):
		case keep > 0:
			keep = 0
		default:
			return err
		}
	}
}

// notAdmitted reports whether a write is to begin again, since the journal did not admit it, and with how many bytes.
func notAdmitted(err error) (size int, again bool) {
	if err == nil {
		return 0, false
	}
	var n *NotAdmittedError
	if errors.As(err, &n) {
		return int(n.Size), true
	}
	return 0, false
}

var errClosed = fmt.Errorf("%w: the store is closed", ErrReadOnly)

// admit is asked before a write of so many bytes of entries takes its locks.
func (s *Store) admit(size int) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.journal != nil {
		return s.journal.Admit(int64(size))
	}
	return nil
}

// admitCopies is admit of a write of so many bytes before they are copied, if that takes memory: so that what waits for
// the journal waits without.
func (s *Store) admitCopies(size int) error {
	if !table.IsLarge(size) {
		return nil
	}
	return s.admit(size)
}

// order gives a write its place among all others: see (1). left is what it leaves of its keys, for the journal.
func (s *Store) order(left []*Entry) (version uint64, err error) {
	if s.closed.Load() { // again, since Close waits for the locks alone
		return 0, errClosed
	}
	var floor uint64
	if s.keeps {
		floor = s.wallMicros() // so that a version says when it was made
	}
	if s.journal != nil {
		return s.journal.Append(floor, left)
	}
	if floor == 0 {
		return s.versions.Add(1), nil
	}
	for {
		last := s.versions.Load()
		next := max(last, floor) + 1
		if s.versions.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}

func versionOf(e Found) uint64 {
	if !e.Exists() {
		return 0
	}
	return e.Version()
}
