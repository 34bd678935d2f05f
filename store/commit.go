package store

import (
	"errors"
	"fmt"

	"kv/store/table"
)

// How a write takes effect. What the table does with it, and why readers see it whole, is in store/table; this is what the store adds.
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
// Several keys: lock their shards in rising order, check the conditions, stage an entry for each key, take the version, commit, unlock.
// If memory or the journal refuses, or a caller's code panics, what was staged is undone, which no reader can tell.

// change is a write of one key.
type change struct {
	hash        uint64
	entry       *Entry // may be a deletion
	always      bool   // take a version even if it is the deletion of what does not exist
	conditional bool
	ifVersion   uint64
	// only, if not 0, is the version that must be current: for the sweeper, which removes just what it saw.
	only uint64
	keep int // how much history the key may have
}

var errNothing = errors.New("nothing to change")

// commitOne writes one key. It returns the version that a reader of the key then has to wait for: the write's own, if it was applied.
// The error is errNothing for a deletion of what does not exist.
func (s *Store) commitOne(ch *change) (version uint64, err error) {
	if err := s.admit(ch.entry.size()); err != nil {
		return 0, err
	}
	key := ch.entry.Key()
	sh := s.shardOf(ch.hash)
	sh.Lock()
	var f table.Fresh
	defer func() {
		if version == 0 || err != nil { // the entry was not put anywhere
			if f != (table.Fresh{}) {
				sh.Drop(f)
			}
		}
		sh.one[0] = nil
		sh.Unlock()
	}()
	p := sh.Find(ch.hash, key)
	cur := p.Entry()
	exists := cur.Exists() && !cur.Deleted()
	live := exists && (ch.only != 0 || !s.expired(cur))
	seen := max(p.Version(), versionOf(cur))
	if ch.only != 0 && (!exists || cur.Version() != ch.only) || ch.entry.Deleted() && !live && !ch.always {
		return seen, errNothing
	}
	current := uint64(0)
	if live {
		current = cur.Version()
	}
	if ch.conditional && current != ch.ifVersion {
		return seen, &ConflictError{Version: current}
	}

	nothing := ch.entry.Deleted() && !exists // it takes a version and changes nothing
	makes := !ch.entry.Deleted() || s.keep > 0
	must := ch.entry.Deleted() || ch.keep == 0 && exists && ch.entry.Len() <= cur.Len() // what shrinks is never refused
	if !nothing && makes {
		var ok bool
		if f, ok = sh.Make(spec(ch.entry), must); !ok || !sh.Prepare(&p, must) {
			return 0, ErrOutOfMemory
		}
	}
	left := sh.one[:]
	if left[0] = ch.entry; nothing {
		left = nil
	}
	if version, err = s.order(left); err != nil {
		return 0, err
	}
	ch.entry.version = version
	eff := counted(cur, -1)
	notes := s.notes(sh, cur, ch.entry, ch.keep)
	switch {
	case nothing:
		eff = effect{}
		sh.Note(&p, version)
	case makes:
		eff.add(counted(sh.Entry(f), 1))
		sh.Put(&p, f, version, ch.keep)
	default:
		sh.Delete(&p, version)
	}
	sh.newest = version
	sh.account(eff)
	if makes && ch.entry.Deleted() && !nothing {
		s.settle(sh, ch.hash, key)
	}
	if ch.only != 0 {
		s.expirations.Add(1)
	}
	if notes {
		s.note(sh, ch.hash)
	}
	return version, nil
}

// settle removes what is kept of key if it is only its deletion: there is nothing to go back to. sh is locked.
func (s *Store) settle(sh *shard, h uint64, key []byte) {
	p := sh.Find(h, key)
	if !p.Entry().Exists() {
		return
	}
	if _, gone := sh.Forget(&p, 0, nil); gone {
		sh.deletions--
	}
}

// spec says what the table makes of an entry.
func spec(e *Entry) table.Spec {
	return table.Spec{Key: e.Key(), Value: e.Value(), Expiry: e.Expiry(), Deleted: e.Deleted()}
}

// commit is a write of several keys under way. Its locks are held.
type commit struct {
	s       *Store
	txn     *table.Txn
	begun   bool
	now     moment // the clock, read under the locks
	staged  []staged
	version uint64 // when it is committed
	keep    int    // how much history each key may have
	home    *shard
	view    *table.Reader // pinned while its results may be looked at; nil: nobody does
	wanted  int64         // about how much memory it takes
	seen    uint64        // the highest version of what it read
	refused error         // why it is to be undone, though it could be finished; nil: it is not
	// looks says that who stages looks at what was staged, so everything is, even if the write is refused already.
	looks bool
	must  bool // memory is taken whatever the limit says
}

// staged is what a write leaves of a key so far.
type staged struct {
	hash  uint64
	entry *Entry
	cur   Found // what was current before the write
	next  table.Fresh
	only  bool // nothing of the key changes, but readers wait for the version
	noted bool
}

// current returns the entry of key as the write has left it so far; none if it is absent or expired.
func (c *commit) current(h uint64, key []byte) Found {
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
	if c.refused != nil && !c.looks {
		c.wanted += int64(e.size())
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
		mark = uint32(len(c.staged))
		c.staged = append(c.staged, staged{hash: h, cur: p.Entry()})
	}
	st := &c.staged[mark]
	st.entry = e
	existed := st.cur.Exists() && !st.cur.Deleted()
	var f table.Fresh
	must := e.Deleted() || c.must // a deletion is never refused memory
	if !must {
		c.wanted += int64(e.size())
	}
	switch {
	case e.Deleted() && !existed:
		st.only = true
		if st.next != (table.Fresh{}) { // set and deleted by the same write
			if st.cur.Exists() {
				c.txn.Revert(&p)
			} else {
				c.txn.Stage(&p, f, mark, true)
			}
			st.next = f
		}
		return
	case !e.Deleted() || s.keep > 0:
		must = must || c.refused != nil || c.keep == 0 && existed && e.Len() <= st.cur.Len()
		var ok bool
		if f, ok = sh.Make(spec(e), must); !ok {
			c.short(h, e)
			return
		}
	}
	if !c.txn.Stage(&p, f, mark, must) {
		if f != (table.Fresh{}) {
			sh.Drop(f)
		}
		c.short(h, e)
		return
	}
	st.only, st.next = false, f
}

// short is called where there was no memory to stage e.
func (c *commit) short(h uint64, e *Entry) {
	again := c.refused == nil && c.looks
	c.refused = ErrOutOfMemory
	if again {
		c.set(h, e) // past the limit, until it is undone
	}
}

// finish makes all that was staged visible at one instant. If it returns an error, all of it is to be undone.
func (c *commit) finish() (version uint64, err error) {
	if len(c.staged) == 0 {
		return 0, nil
	}
	if version, err = c.s.order(c.left()); err != nil {
		return 0, err
	}
	c.publish(version)
	return version, nil
}

// publish makes all that was staged visible at one instant, as the write of this version.
func (c *commit) publish(version uint64) {
	s := c.s
	// What is current is not to be looked at once the table has it.
	for i := range c.staged {
		st := &c.staged[i]
		sh := s.shardOf(st.hash)
		st.entry.version = version
		st.noted = !st.only && s.notes(sh, st.cur, st.entry, c.keep)
		if !st.only {
			eff := counted(st.cur, -1)
			if st.next != (table.Fresh{}) {
				eff.add(counted(sh.Entry(st.next), 1))
			}
			sh.account(eff)
		}
		sh.newest = version
	}
	c.version = version
	if c.begun {
		c.txn.Commit(version, c.keep)
	}
	for i := range c.staged {
		st := &c.staged[i]
		sh := s.shardOf(st.hash)
		if st.only {
			p := sh.Find(st.hash, st.entry.Key())
			sh.Note(&p, version)
		} else if st.entry.Deleted() && s.keep > 0 {
			s.settle(sh, st.hash, st.entry.Key())
		}
		if st.noted {
			s.note(sh, st.hash)
		}
	}
}

// left returns what the write leaves of each key that it changed, but for deletions of keys that were absent before it.
func (c *commit) left() []*Entry {
	if c.s.journal == nil {
		return nil
	}
	left := make([]*Entry, 0, len(c.staged))
	for i := range c.staged {
		if !c.staged[i].only {
			left = append(left, c.staged[i].entry)
		}
	}
	return left
}

// undo takes what was staged back, unless it was committed.
func (c *commit) undo() {
	if c.version == 0 && c.begun {
		c.txn.Undo()
	}
}

// makeRoom runs write, and again if the journal has not admitted it, and for as long as it is refused for want of memory and there is history to give up for it: the
// oldest first, and last what the write's own keys have. keep is how much history those may have after it. wanted is about how much memory the
// write takes, as far as it got. A write that could not be helped by that takes nobody's history.
func (s *Store) makeRoom(write func(keep int) (wanted int64, err error)) error {
	for keep, tidied := s.keep, 0; ; {
		wanted, err := write(keep)
		size, again := notAdmitted(err)
		switch {
		case again:
			if err := s.admit(size); err != nil {
				return err
			}
		case err == nil || !errors.Is(err, ErrOutOfMemory):
			return err
		case s.hopeless(wanted):
			return err
		case tidied < mostTidied && s.roomy(wanted):
			tidied++
			s.tidy(true)
		case s.evict(wanted):
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

// order gives a write its place among all others: see (1). left is what it leaves of its keys, for the journal.
func (s *Store) order(left []*Entry) (version uint64, err error) {
	if s.closed.Load() { // again, since Close waits for the locks alone
		return 0, errClosed
	}
	var floor uint64
	if s.keep > 0 {
		floor = s.clock.wall() // so that a version says when it was made
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
