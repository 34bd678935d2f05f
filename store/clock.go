package store

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// clock tells the time by which keys expire.
//
// What holds: a key that has expired stays so, whatever the wall clock does; a key that is given a time to live lives for
// that long; and what is stored, an expiry or a version, comes from the wall clock as it is now, not as it once was.
//
// So the time goes on at the pace of the monotonic clock and follows the wall clock only forward. Where the wall clock is
// set back by more than jump, an era begins: what was written before it still expires by the time that it was written
// under, which goes on at its pace, and what is written from then on by the wall clock again. Versions tell the two apart.
//
// Rejected: one time that never goes back. A wall clock that was wrong once, by a day, gave each lock that was set
// afterwards a day more to live, in the log too.
type clock struct {
	// read returns the wall clock and a monotonic one, both in microseconds. Fixed.
	read func() (wall, mono int64)
	// mono returns the monotonic clock of read alone, which takes half the time. Fixed.
	mono func() int64
	// state publishes how times follow from the monotonic clock. A new era is stored with all shards locked, so whoever finds
	// an entry of that era loads the era, or a later state, after it.
	state atomic.Pointer[clockState]
}

// clockState is immutable.
type clockState struct {
	lead int64 // how far the wall clock has been ahead of the monotonic one at most in this era
	past []era // the earlier ones, oldest first: both last and lead differ, the one rising, the other falling
}

// era is a time during which the wall clock was never set back.
type era struct {
	last uint64 // the last version that was given in it
	lead int64  // as clockState.lead
}

const (
	// jump is how far the wall clock has to be from where it is expected for that to be one, in microseconds. Below, times to
	// live are as long as they should be, and what is stored is off by less than this.
	jump = 1_000_000
	// maxEras is how many earlier eras are told apart. With one more the two oldest become one: some keys of the younger of
	// them expire too early then, none too late.
	maxEras = 8
)

var processStart = time.Now()

func systemClock() (wall, mono int64) {
	now := time.Now()
	return now.UnixMicro(), now.Sub(processStart).Microseconds()
}

func systemMono() int64 { return time.Since(processStart).Microseconds() }

// start makes the time that of the wall clock.
func (c *clock) start(read func() (wall, mono int64)) {
	c.read = read
	c.mono = func() int64 {
		_, mono := read()
		return mono
	}
	wall, mono := read()
	c.state.Store(&clockState{lead: wall - mono})
}

// moment is a reading of the clock.
type moment struct {
	state *clockState
	mono  int64
}

// now reads the clock. It only reads: a reader may call it.
func (c *clock) now() moment {
	st := c.state.Load()
	return moment{st, c.mono()}
}

// millis returns the time of this era in Unix milliseconds, as expiry counts it.
func (m moment) millis() uint64 { return uint64(max(m.mono+m.state.lead, 0)) / 1000 }

// latest returns the time of the era whose time is furthest ahead, in Unix milliseconds.
func (m moment) latest() uint64 { return uint64(max(m.mono+m.state.mostAhead(), 0)) / 1000 }

func (st *clockState) mostAhead() int64 {
	if len(st.past) > 0 {
		return st.past[0].lead
	}
	return st.lead
}

// leadOf returns the lead of the era in which version was given; 0 stands for one that is yet to be given.
func (st *clockState) leadOf(version uint64) int64 {
	if len(st.past) == 0 {
		return st.lead
	}
	return st.leadThen(version)
}

func (st *clockState) leadThen(version uint64) int64 {
	if version != 0 {
		for _, p := range st.past {
			if version <= p.last {
				return p.lead
			}
		}
	}
	return st.lead
}

// expiredAt reports whether e has expired at this moment.
func expiredAt(e Found, now moment) bool {
	at := e.Expiry()
	return at != 0 && at <= uint64(max(now.mono+now.state.leadOf(e.Version()), 0))/1000
}

// expired reports whether e has expired by now.
func (s *Store) expired(e Found) bool { return e.Expiry() != 0 && expiredAt(e, s.clock.now()) }

// due returns when e, which expires, does so by the time that is furthest ahead, in Unix milliseconds. If the wall clock
// jumps forward, that may be earlier.
func (st *clockState) due(e Found) uint64 { return st.latest(e.Expiry(), e.Version()) }

// latest returns when it is at, in milliseconds, in the era in which version was given, by the time that is furthest ahead.
func (st *clockState) latest(at, version uint64) uint64 {
	return after(at, uint64(st.mostAhead()-st.leadOf(version))/1000)
}

// reach reports whether something may be due in now by more than a tick earlier, by the time that is furthest ahead, than it
// was in st, a state before it, or in one between them. Each era of its own goes on at its own pace; where one began or ended
// meanwhile, which its last version tells, anything may be.
func (st *clockState) reach(now *clockState) bool {
	if len(st.past) != len(now.past) {
		return true
	}
	off := func(a, b int64) bool { return (st.mostAhead()-a)-(now.mostAhead()-b) >= 1000<<tickBits }
	for i, p := range st.past {
		if p.last != now.past[i].last || off(p.lead, now.past[i].lead) {
			return true
		}
	}
	return off(st.lead, now.lead)
}

// offset returns how far the wall clock is from where the state expects it, in microseconds, and where that would place
// it. A process that is held up between reading the one clock and the other sees the wall clock too far back, so what
// looks like that is looked at again.
func (c *clock) offset(st *clockState) (off, lead int64) {
	for try := range 3 {
		wall, mono := c.read()
		if try == 0 || wall-mono > lead {
			lead = wall - mono
		}
		if lead-st.lead > -jump {
			break
		}
	}
	return lead - st.lead, lead
}

// follow lets the time catch up with the wall clock. It returns how far that has jumped, in microseconds, 0 if it has not.
// If it was set back, that is not followed: see Store.newEra.
func (c *clock) follow() (jumped int64) {
	for {
		st := c.state.Load()
		off, lead := c.offset(st)
		switch {
		case off <= -jump:
			return off
		case off <= 0:
			return 0
		}
		if c.state.CompareAndSwap(st, st.ahead(lead)) {
			if off >= jump {
				return off
			}
			return 0
		}
	}
}

// ahead returns the state with a greater lead. The eras whose times it has caught up with are over.
func (st *clockState) ahead(lead int64) *clockState {
	n := len(st.past)
	for n > 0 && st.past[n-1].lead <= lead {
		n--
	}
	return &clockState{lead: lead, past: st.past[:n:n]}
}

// back returns the state with a smaller lead, in a new era; last is the last version that was given before it.
func (st *clockState) back(lead int64, last uint64) *clockState {
	past := append(slices.Clone(st.past), era{last, st.lead})
	if len(past) > maxEras {
		past[1].lead = past[0].lead
		past = past[1:]
	}
	return &clockState{lead: lead, past: past}
}

// followClock lets the store's clock follow the wall clock, forward or back. It is called without locks.
func (s *Store) followClock() {
	switch jumped := s.clock.follow(); {
	case jumped > 0:
		s.logger.Warn("the clock jumped ahead: keys that expire in what it left out are gone",
			"by", time.Duration(jumped)*time.Microsecond)
	case jumped < 0:
		if back := s.newEra(); back > 0 {
			s.logger.Warn("the clock was set back: "+
				"keys that are written from now on expire by it, earlier ones when they would have",
				"by", time.Duration(back)*time.Microsecond)
		}
	}
}

// newEra lets the clock go back to where the wall clock was set, and returns by how much, in microseconds.
func (s *Store) newEra() (back int64) {
	s.table.LockAll(allShards) // no version is being given
	defer s.table.UnlockAll(allShards)
	last := s.recovered
	for i := range s.shards {
		last = max(last, s.shards[i].newest)
	}
	for {
		st := s.clock.state.Load()
		off, lead := s.clock.offset(st)
		if off > -jump {
			return 0 // somebody else has seen it first, or it was set forward again
		}
		if s.clock.state.CompareAndSwap(st, st.back(lead, last)) {
			return -off
		}
	}
}

// newValue makes the entry, in sc, that stands for key having this value for ttl milliseconds, or until at; both 0: for
// good. If at has passed, that is the key's deletion.
func (s *Store) newValue(sc *scratch, key, value []byte, ttl, at uint64) *Entry {
	if ttl == 0 && at == 0 {
		return sc.entry(key, value, 0, 0)
	}
	var now uint64
	if s.replica != nil {
		now = s.wallMillis()
	} else {
		s.followClock()
		now = s.clock.now().millis()
	}
	switch {
	case ttl != 0:
		return sc.entry(key, value, after(now, ttl), 0)
	case at <= now:
		return sc.tombstone(key)
	}
	return sc.entry(key, value, at, 0)
}

// checkExpiry refuses what newValue can't make an entry of.
func checkExpiry(ttl, at uint64) error {
	if ttl != 0 && at != 0 {
		return ErrTwoExpiries
	}
	return nil
}

// after returns now + ttl, at most the largest uint64.
func after(now, ttl uint64) uint64 {
	if ttl > math.MaxUint64-now {
		return math.MaxUint64
	}
	return now + ttl
}
