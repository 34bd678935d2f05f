// Package epoch tells when memory that readers may still look at can be used again: the grace periods of read-copy-update,
// for memory that no garbage collector watches.
//
// A reader announces itself with [Cell.Pin] before it loads a reference to shared memory and ends with [Cell.Unpin], after
// which it must not look at what the reference led to. A writer unlinks an object, so that nobody can find it any more,
// and notes [Domain.Now] for it, in a [Limbo] for instance. Once [Domain.Safe] is above that number, nobody who might have
// found the object is still pinned, and the object may be used for something else.
//
// # Why that is right
//
// There is one number, now, which only rises. A cell holds the number that it was pinned with, or 0. Advance raises now and
// then looks at all cells; safe becomes the lowest number that it finds in one, or now if they are all 0. All of these are
// sequentially consistent, as Go's atomics are.
//
// Let o be retired with epoch e, which means that now was e when o had been unlinked already; and let a reader have
// found o between a Pin and its Unpin. Then the reader loaded the reference before o was unlinked, and pinned before
// that. It pinned with some v that now had been by then, so v ≤ e. An Advance that makes safe > e has to have read the
// reader's cell. If that read saw v, safe is at most v ≤ e: a contradiction. If it saw 0 from before the Pin, then the
// read comes before the Pin in the order of all atomics. Advance raised now to more than e before it read the cells,
// and took e+1 at least for safe only if o had been retired before the raise (a later retirement would have noted the
// raised number). So o was unlinked before the reader pinned, and the reader can't have found it. If the read saw 0
// from after the Unpin, the reader is done.
//
// A Pin may store a number that is old by then, because its goroutine was stopped between the load of now and the store. That
// is merely careful: safe stays lower than it might be. So Pin needs no second look.
//
// Rejected: a count of readers for each epoch (all readers write one cache line); hazard pointers (a fence for each object
// that is looked at); quiescent states announced now and then (idle sessions would have to announce theirs); a cell for each
// processor (Go does not say on which one it runs). See Fraser, "Practical lock-freedom", 2004, for epochs; the form with a
// cell for each reader is that of crossbeam-epoch (internal.rs).
package epoch

import (
	"sync"
	"sync/atomic"
	"time"
)

// Domain is a set of readers and what they may look at. Its methods may be called from many goroutines. The zero value is not
// one; see [New].
type Domain struct {
	now atomic.Uint64 // the present epoch, never 0. A writer loads it after it has unlinked an object: see the proof above
	_   [120]byte     // now and safe are on lines of their own: writers load them often

	safe atomic.Uint64 // publishes that no reader holds anything that was retired with a lower epoch
	_    [120]byte

	// cells are all cells ever made, in blocks that stay: Advance loads the list without a lock. The pointer publishes the
	// blocks; stored under mu.
	cells atomic.Pointer[[]*block]

	mu   sync.Mutex // guards free, and stores to cells
	free []*Cell    // those that no reader has

	advancing sync.Mutex // held by the one that advances; guards the rest
	rested    time.Time  // Advance does nothing before this time
	oldest    held
	clock     func() time.Time
}

// held is what Advance knows about the cell that has been pinned for longest.
type held struct {
	epoch uint64 // 0: nobody was pinned
	owner string
	since time.Time // when an Advance saw it first: it was pinned before
}

// blockSize is how many cells are made at a time.
const blockSize = 64

type block [blockSize]Cell

// Cell is one reader's announcement. It is for one goroutine at a time.
type Cell struct {
	pinned atomic.Uint64 // announces the epoch that its reader pinned with; 0: not pinned
	domain *Domain
	// owner says who the reader is, for a person; it publishes nothing.
	owner atomic.Pointer[string]
	// Processors fetch pairs of lines, so two cells are two pairs apart.
	_ [104]byte
}

// New returns a domain without readers.
func New() *Domain {
	d := &Domain{clock: time.Now}
	d.now.Store(1)
	d.safe.Store(1)
	d.cells.Store(new([]*block))
	return d
}

// Cell returns a cell for a reader that is called owner in reports. Give it back with [Domain.Return].
func (d *Domain) Cell(owner string) *Cell {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.free) == 0 {
		b := new(block)
		for i := range b {
			b[i].domain = d
			d.free = append(d.free, &b[blockSize-1-i])
		}
		old := *d.cells.Load()
		all := append(old[:len(old):len(old)], b)
		d.cells.Store(&all)
	}
	last := len(d.free) - 1
	c := d.free[last]
	d.free = d.free[:last]
	c.owner.Store(&owner)
	return c
}

// Return gives back a cell that is not pinned. It must not be used afterwards.
func (d *Domain) Return(c *Cell) {
	if c.pinned.Load() != 0 {
		panic("epoch: a cell is given back while it is pinned")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, c)
}

// Pin begins a time in which what the reader finds stays as it is. It costs a few nanoseconds and, being a fence, keeps the
// loads before it from overlapping those after; so it is for a batch of reads rather than for each. Nothing that may block
// belongs between Pin and Unpin: no lock, no channel, no system call. Pins do not nest.
func (c *Cell) Pin() { c.pinned.Store(c.domain.now.Load()) }

// Unpin ends that time.
func (c *Cell) Unpin() { c.pinned.Store(0) }

// Now returns the present epoch: that of what has been unlinked by now.
func (d *Domain) Now() uint64 { return d.now.Load() }

// Safe returns the epoch below which everything may be used again, as of the last Advance.
func (d *Domain) Safe() uint64 { return d.safe.Load() }

// rest bounds how often cells are looked at: for a share of 1/restShare of the time, but not less often than maxRest allows.
// The bound matters: a scan whose goroutine was stopped looks long, and would keep memory from being used again.
const (
	restShare = 20
	maxRest   = time.Millisecond
)

// Advance raises Safe as far as the readers allow, and returns it. It does nothing if another Advance is under way, or the
// last was a moment ago.
func (d *Domain) Advance() (safe uint64) {
	if !d.advancing.TryLock() {
		return d.safe.Load()
	}
	defer d.advancing.Unlock()
	begin := d.clock()
	if begin.Before(d.rested) {
		return d.safe.Load()
	}
	return d.advance(begin)
}

// Hurry is Advance without a rest; it waits for one that is under way. It is for a writer that is short of memory.
func (d *Domain) Hurry() (safe uint64) {
	d.advancing.Lock()
	defer d.advancing.Unlock()
	return d.advance(d.clock())
}

// firstRest is how long WaitForReaders rests between its first two looks.
const firstRest = 10 * time.Microsecond

// WaitForReaders waits, at most for so long, until every reader that is pinned now has unpinned, and reports whether all
// had: then everything that was unlinked before the call may be used again. The caller is not pinned. RCU calls it
// synchronize.
func (d *Domain) WaitForReaders(most time.Duration) bool {
	goal, begin := d.now.Load(), d.clock()
	for rest := firstRest; d.Hurry() <= goal; rest = min(2*rest, maxRest) {
		if d.clock().Sub(begin) >= most {
			return false
		}
		time.Sleep(rest)
	}
	return true
}

// advance looks at all cells; advancing is held.
func (d *Domain) advance(begin time.Time) uint64 {
	least := d.now.Add(1)
	var oldest *Cell
	for _, b := range *d.cells.Load() {
		for i := range b {
			if v := b[i].pinned.Load(); v != 0 && v < least {
				least, oldest = v, &b[i]
			}
		}
	}
	d.safe.Store(least)
	end := d.clock()
	d.rested = end.Add(min(restShare*end.Sub(begin), maxRest))
	switch {
	case oldest == nil:
		d.oldest = held{}
	case d.oldest.epoch != least:
		// The epoch alone does not tell two readers apart that pinned in the same one; together they do hold it.
		d.oldest = held{epoch: least, owner: *oldest.owner.Load(), since: end}
	}
	return least
}

// Held returns how long, at least, memory has been kept from being used again by a reader that stays pinned, and who that is;
// 0 if the last Advance found nobody pinned. It is for figures and logs.
func (d *Domain) Held() (owner string, at time.Duration) {
	d.advancing.Lock()
	defer d.advancing.Unlock()
	if d.oldest.epoch == 0 {
		return "", 0
	}
	return d.oldest.owner, d.clock().Sub(d.oldest.since)
}
