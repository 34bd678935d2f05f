package store

import (
	"errors"
	"fmt"

	"kv/store/table"
)

// How a write takes effect. Why readers see it whole is in store/table; this is what the store adds.
//
// What holds, and is cited by number elsewhere:
//
//	(1) A write takes its version, and is appended to the journal, while it holds all its locks. So the writes of one key have
//	    rising versions, and the journal's order agrees with what readers see.
//	(2) A write has all the memory it needs before it takes its version, so nothing can fail between the journal and the
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
	// only, if not 0, is the version that must be current: an eviction deletes only the entry that it chose.
	only uint64
	keep int // how many earlier versions the key may have
}

var errNothing = errors.New("nothing to change")

// commitOne writes one key. It returns the version that must be durable before anybody is told of the key's state: the
// write's own, if it was applied. The error is errNothing for a deletion of a key that does not exist.
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
		if o.next != (table.Fresh{}) && (version == 0 || err != nil) { // made, and not put anywhere
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

// mustFit reports whether a write of e over cur is never refused memory: it deletes, or the value gets no longer.
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
	time     uint64 // of a store that proposes: the time that expiries are counted from, in Unix milliseconds
	outcomes []outcome
	version  uint64 // when it is committed
	keep     int    // how many earlier versions each key may have
	home     *shard
	view     *table.Reader // pinned while the caller may look at results; nil: there are none
	wanted   demand        // the memory of all that was staged
	seen     uint64        // the highest version of what it read
	refused  error         // why the write will be undone; nil: it will not
	// looks says that the caller looks at what it has staged. So everything is staged, even if the write is refused already.
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

// told returns the entries for the journal: what the write leaves of each key that it changes.
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

// undo takes back what was staged, unless it was committed.
func (c *commit) undo() {
	if c.version == 0 && c.begun {
		c.txn.Undo()
	}
}

// makeRoom runs write, with the number of earlier versions that its keys may keep, and returns its error. It runs write again
// if the journal has not admitted it; and, if memory was refused, once it has freed some: in a cache by evicting other keys;
// else by compaction, then by dropping history, the oldest first and that of the write's own keys last. If the write would
// not fit even so, nobody else's history is dropped. home has the shards of the write's keys; wanted is about how much memory
// the write takes, as far as it got.
func (s *Store) makeRoom(home table.ShardSet, write func(keep int) (wanted demand, err error)) error {
	var short shortage
	keep := s.HistoryDepth()
	if s.budget.over() {
		s.tidyOver()
		keep = 0 // otherwise what this write replaces would become history, and the store would stay past the limit
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
			keep = 0 // without history of its own a value that gets no longer is never refused
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

// notAdmitted reports whether a write has to begin again, because the journal did not admit it, and how many bytes to ask the
// journal for.
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

// admit waits until the journal admits a write of so many bytes of entries. The write has taken no locks yet.
func (s *Store) admit(size int) error {
	if s.closed.Load() {
		return errClosed
	}
	if s.journal != nil {
		return s.journal.Admit(int64(size))
	}
	return nil
}

// admitCopies is admit of a large write before its value is copied, so that a write that waits for the journal does not hold
// memory. Small values are not copied to memory of their own.
func (s *Store) admitCopies(size int) error {
	if !table.IsLarge(size) {
		return nil
	}
	return s.admit(size)
}

// order gives a write its version: see (1). left has what the write leaves of its keys, for the journal.
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
