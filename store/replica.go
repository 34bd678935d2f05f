package store

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Replica is the journal of a store that is one of several alike: see Options.Proposes. What is appended to it takes
// effect when it comes back by [Store.Apply], in this store as in the others, or never, after [Store.Abandon].
type Replica interface {
	Journal
	// Begin waits until a read that begins now sees all that it has to, as mode says. The error says that this can't be
	// known: ErrNoMajority or ErrStale.
	Begin(mode ReadMode) error
	// Confirm returns nil if what this replica knew when it was called was the newest there is: nobody else led by then.
	Confirm() error
	// Epoch changes whenever this replica begins or ceases to take writes; it is odd while it does. A version names one
	// write within one epoch.
	Epoch() uint64
	// Outcome says what has become of writes that were given versions in an epoch, and are no more waited for: the
	// first of them, and the last. nil: all took effect, and what is published of them is theirs, not another replica's
	// that was given the same. A *MovedError: none did, or ever will. ErrUnknown: that is not known. It may wait until
	// it is.
	Outcome(epoch, first, last uint64) error
}

// ReadMode says how new what a read shows has to be.
type ReadMode struct {
	// Bound is how old it may be at most; 0: it has all that was answered before the read began, by any replica.
	Bound time.Duration
}

var (
	// ErrUnknown is the error of a write that may have been applied, or may yet be: the replica that took it leads no more.
	ErrUnknown = fmt.Errorf("%w: this node leads no more: the write may have been applied", ErrReadOnly)
	// ErrNoMajority is the error of a read that has to be as new as can be, while nobody can tell what is newest; and
	// matches that of a write while nobody leads. Nothing was done.
	ErrNoMajority = errors.New("no leader, or no majority, could be asked in time for what is newest: try again")
	// ErrStale is the error of a read under a bound that the replica can't hold.
	ErrStale = errors.New("stale: this node can't tell that it is as new as was asked for")
)

// MovedError is the error of a write at a replica that does not lead: nothing was applied. It matches ErrReadOnly, and
// ErrNoMajority where no leader is known.
type MovedError struct {
	Leader string // the address of the one that does, for clients; empty: none is known
}

// Error says where to go.
func (e *MovedError) Error() string {
	if e.Leader == "" {
		return "no node leads now: nothing was applied, try again"
	}
	return "read-only: " + e.Leader + " leads, not this node"
}

// Is matches ErrReadOnly, and ErrNoMajority.
func (e *MovedError) Is(target error) bool {
	return target == ErrReadOnly || target == ErrNoMajority && e.Leader == ""
}

// Proposes reports whether the store is one of several alike: Options.Proposes.
func (s *Store) Proposes() bool { return s.replica != nil }

// Begin is called before reads of a store that is one of several: it waits until they will see all that they have to,
// as mode says, and what this session has written. It is for all reads until a write, be there a Flush between them or
// not. For any other store it does nothing.
func (c *Session) Begin(mode ReadMode) error {
	r := c.store.replica
	if r == nil {
		return nil
	}
	if c.seen > r.Durable() {
		// If that is lost, Flush says so; a read need not show it then.
		_ = r.Wait(c.seen)
	}
	if err := r.Begin(mode); err != nil {
		return err
	}
	if !c.reads || c.flushed {
		c.reads, c.flushed, c.installs = true, false, c.store.installs.Load()
	}
	return nil
}

// Reset forgets what Flush would wait for, and that Begin was called, for one who uses the session from now on and has
// nothing to do with what it has done: what that wrote may yet be lost.
func (c *Session) Reset() {
	c.publish()
	c.reader.Seen()
	c.seen = 0
	c.began, c.wrote, c.mixed, c.confirm, c.reads, c.flushed = false, false, false, false, false, false
}

// writes is called before a write begins: what Flush asks about.
func (c *Session) writes() {
	r := c.store.replica
	if r == nil {
		return
	}
	if c.flushed { // what Begin was for has been answered
		c.reads, c.flushed = false, false
	}
	if !c.began {
		c.began, c.epoch = true, r.Epoch()
	}
}

// Moved returns a *MovedError where another replica leads, or none. Where the store is alone, or leads, it returns nil.
func (c *Session) Moved() error {
	if r := c.store.replica; r != nil {
		if err := r.Admit(0); errors.As(err, new(*MovedError)) {
			return err
		}
	}
	return nil
}

// mayLook returns nil if a write that may turn out to write nothing may look at what there is: where this replica
// leads, since Flush confirms that, and where it does not behind Begin. Else the answer could be old, and the leader is
// to be asked.
func (c *Session) mayLook() error {
	if c.reads && !c.flushed {
		return nil
	}
	return c.Moved()
}

// shows is called with the end of a write: where it has written nothing, its answer shows what it saw.
func (c *Session) shows(version uint64, err error) {
	switch {
	case !c.began:
	case errors.As(err, new(*MovedError)): // it rests on nothing
		c.began = c.wrote || c.confirm
	case version != 0 && err == nil:
		c.given(version)
	case c.epoch%2 == 1 && !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrOutOfMemory):
		c.confirm = true
	}
}

// given notes a version that a write was given, and in which epoch. That is one in which the replica takes writes, from
// the one that was noted before the write to the one that there is now; where there are several, or it is another than
// that of a write before, it is not known.
func (c *Session) given(version uint64) {
	now := c.store.replica.Epoch()
	epoch := c.epoch + 1 - c.epoch%2 // the first of those
	switch {
	case now > epoch+1:
		c.mixed = true
	case !c.wrote:
		c.epoch, c.first, c.last = epoch, version, version
	}
	c.wrote, c.first, c.last = true, min(c.first, version), max(c.last, version)
}

// settle ends what Flush does for a replica: a version that is published is this session's write only if the journal
// says so of the epoch in which it was given; and what a write has shown of the state without changing it must have
// been the newest. err is why what was seen may be lost.
func (c *Session) settle(r Replica, err error) error {
	began, wrote, mixed, confirm := c.began, c.wrote, c.mixed, c.confirm
	c.began, c.wrote, c.mixed, c.confirm, c.flushed = false, false, false, false, true
	newest := func() error { // returns nil if what the answers show besides was
		if err == nil && confirm {
			err = r.Confirm()
		}
		if err == nil && c.epoch != r.Epoch() {
			err = ErrUnknown
		}
		return err
	}
	switch {
	case c.reads && (c.installs%2 == 1 || c.installs != c.store.installs.Load()):
		if wrote { // which is not to be asked again
			return ErrUnknown
		}
		return errReplaced
	case !began:
		return err
	case !wrote:
		err = newest()
		if errors.Is(err, ErrUnknown) { // nothing was written, so it is to be asked of who leads
			return cmp.Or(c.Moved(), err)
		}
		return err
	case mixed:
		return ErrUnknown
	}
	if err := r.Outcome(c.epoch, c.first, c.last); err != nil {
		return err
	}
	if confirm {
		return newest()
	}
	return err
}
