package store

import (
	"errors"
	"sync/atomic"
)

// Expired keys are absent for readers at once; the sweeper removes them within a second, as deletions like any other.
//
// It finds them through soonest, of the shard and of the segment, which is never later than the first expiry below it. It
// resets soonest, then looks, then lowers it again to what it saw; a writer publishes its entry first and lowers soonest
// after. So an entry that the sweeper does not see is one whose writer lowers soonest after the reset.

// lower sets a to at, if that is less.
func lower(a *atomic.Uint64, at uint64) {
	for {
		old := a.Load()
		if at >= old || a.CompareAndSwap(old, at) {
			return
		}
	}
}

// noteExpiry notes that a key of g, in sh, expires at this time; 0: it does not.
func (s *Store) noteExpiry(sh *shard, g *segment, at uint64) {
	if at != 0 {
		lower(&g.soonest, at)
		lower(&sh.soonest, at)
	}
}

// sweep removes what has expired by now.
func (s *Store) sweep() {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.followClock()
	now := s.clock.now()
	latest := now.latest()
	if st := now.state; st != s.swept {
		if s.swept != nil && len(s.swept.past) > 0 {
			latest = noExpiry // what was noted may be too late: see clockState.due
		}
		s.swept = st
	}
	for i := range s.shards {
		sh := &s.shards[i]
		if sh.soonest.Load() > latest {
			continue
		}
		sh.soonest.Store(noExpiry)
		for _, g := range sh.segments() {
			if g.soonest.Load() <= latest && s.sweepSegment(g, now) != nil {
				lower(&sh.soonest, 0) // come again
				return
			}
			lower(&sh.soonest, g.soonest.Load())
		}
	}
}

// sweepSegment removes the keys of g that have expired. The error is that of a store that takes no writes.
func (s *Store) sweepSegment(g *segment, now moment) error {
	g.soonest.Store(noExpiry)
	next := uint64(noExpiry)
	var gone []*Entry
	for i := range g.slots {
		b := g.slots[i].p.Load().resolve()
		b.each(func(e *Entry, _ uint8) {
			if e.expiredAt(now) {
				gone = append(gone, e)
			} else if e.Expiry() != 0 {
				next = min(next, now.state.due(e))
			}
		})
	}
	lower(&g.soonest, next)
	for _, e := range gone {
		_, err := s.commitOne(&change{hash: s.hash(e.Key()), entry: newTombstone(e.Key()), only: e, keep: s.keep})
		if err != nil && !errors.Is(err, errNothing) {
			lower(&g.soonest, 0) // come again
			return err
		}
	}
	return nil
}

// segments returns the shard's segments, each once. Those that are split meanwhile are returned as they were.
func (sh *shard) segments() []*segment {
	d := sh.dir.Load()
	var all []*segment
	for i := range d.segments {
		if g := d.segments[i].Load(); len(all) == 0 || all[len(all)-1] != g {
			all = append(all, g)
		}
	}
	return all
}
