package store

import (
	"sync/atomic"
	"time"
)

// readers notices a reader that stays pinned: what is replaced or deleted meanwhile waits for him. Nothing that may
// block is done while pinned, so it takes a process that is stopped in the middle, or a caller of a View that does what
// he must not.
type readers struct {
	// slow is not nil while so much waits that writes are slowed down, and closed when they need not be any more.
	// Stored by the sweeper; it publishes nothing else.
	slow atomic.Pointer[chan struct{}]
	told bool // the log was told of the one who holds memory now; the sweeper's
}

const (
	// heldLong is how long a reader stays pinned before the log is told.
	heldLong = time.Second
	// mostWaiting is how much may wait, or a part of the limit, waitingShare, if that is more, before writes are slowed down.
	mostWaiting  = 64 << 20
	waitingShare = 16
	// slowWrite is how long a write then waits, at most. It is not refused: without a limit there is memory, and with
	// one it is what refuses.
	slowWrite = 100 * time.Millisecond
)

// pace waits if writes are slowed down. It is called without locks.
func (r *readers) pace() {
	c := r.slow.Load()
	if c == nil {
		return
	}
	t := time.NewTimer(slowWrite)
	defer t.Stop()
	select {
	case <-*c:
	case <-t.C:
	}
}

// watchReaders is the sweeper's look at who is pinned.
func (s *Store) watchReaders() {
	r := &s.readers
	reader, since := s.table.Held()
	if since < heldLong {
		r.told = false
		if c := r.slow.Swap(nil); c != nil {
			close(*c)
		}
		return
	}
	waiting := s.table.Figures().Limbo
	if !r.told {
		r.told = true
		s.logger.Warn("memory can't be used again: somebody is reading, and does not come to an end",
			"reader", reader, "for", since.Round(time.Millisecond).String(), "waiting_bytes", waiting)
	}
	if waiting > max(mostWaiting, s.budget.limit/waitingShare) && r.slow.Load() == nil {
		c := make(chan struct{})
		r.slow.Store(&c)
	}
}
