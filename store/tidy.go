package store

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Tidying up is compaction: the table moves entries out of chunks that are thinly used, and gives the empty chunks back to
// the system. The sweeper does it a little at a time; a write that is short of memory does all of it at once.

const (
	// compactEvery is how many sweeps there are for one that compacts.
	compactEvery = 4
	// compactBytes bounds what the sweeper moves at a time.
	compactBytes = 64 << 20
	// mostTidied is how often one write tidies up for itself.
	mostTidied = 3
	// overShare: past the limit, memory is tidied up again after each limit/overShare more bytes.
	overShare = 32
	// looseEnough: while memory is being freed, chunks that are fuller than this on average are left alone. What would be
	// moved today may be gone tomorrow, and the fuller the chunks, the more has to move for each that becomes empty.
	looseEnough = 0.6
	// freeingShare: memory counts as being freed if resident/freeingShare more bytes are free than at the last look.
	freeingShare = 256
)

// overrun bounds how far past the limit the store goes by writes that are never refused: values that get smaller leave
// holes here and there in which nothing fits.
type overrun struct {
	tidying sync.Mutex   // held by the one write that tidies up; the others don't wait for it
	next    atomic.Int64 // how many bytes have to be in use before the next tidying; publishes nothing
}

// tidyOver tidies up for a write that finds the limit exceeded, unless that was done and little was taken since.
func (s *Store) tidyOver() {
	o := &s.overrun
	if s.budget.used.Load() < o.next.Load() || !o.tidying.TryLock() {
		return
	}
	defer o.tidying.Unlock()
	s.tidy(true)
	o.next.Store(s.budget.used.Load() + s.budget.most()/overShare)
}

// tidy compacts the table and gives empty chunks back to the system. For a write that is short of memory it compacts all
// there is, after it has waited for readers, so that what they held can be freed too.
func (s *Store) tidy(short bool) {
	most := int64(compactBytes)
	switch {
	case short:
		most = math.MaxInt64
		s.table.WaitForReaders(heldLong - s.held())
	case s.freeing():
		most = 0 // no entry moves, but segments that hold little get fewer lines all the same
	}
	s.table.Compact(most)
	switch given := s.table.Scavenge(!short); {
	case given > 0:
		s.vain.Store(math.MaxInt64)
	case short:
		s.vain.Store(s.table.Figures().Used) // the others need not try until something is freed
	}
	if !s.budget.over() {
		s.overrun.next.Store(0)
	}
}

// roomy reports whether n more bytes would fit if free memory were brought together, and no tidying has shown that it
// can't be.
func (s *Store) roomy(n int64) bool {
	f := s.table.Figures()
	return f.Used-f.Limbo+n < s.budget.limit-s.budget.limit/32 && f.Used < s.vain.Load()-f.Arena.Chunk
}

// freeing reports whether so much was freed since the last look that compaction had better wait. sweeper.mu is held.
func (s *Store) freeing() bool {
	f := s.table.Figures().Arena
	free := f.Resident - f.Live
	more := free - s.sweeper.free
	s.sweeper.free = free
	return more > f.Resident/freeingShare && float64(f.Live) > looseEnough*float64(f.Resident)
}

// held returns for how long, at least, a reader has kept memory from being used again; see readers.
func (s *Store) held() time.Duration {
	_, held := s.table.Held()
	return held
}
