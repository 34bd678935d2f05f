package store

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store/table"
)

// Keys that a sweep could not remove, because the store takes no writes, are noted for the next.
func TestSweepGoesOnAfterARefusal(t *testing.T) {
	for _, history := range []int{0, 2} {
		j := newFakeJournal()
		s := openTest(t, Options{Journal: j, History: history}, 0)
		for ttl := uint64(5); ttl > 0; ttl-- {
			_, err := s.Set(fmt.Append(nil, "key", ttl), nil, SetOptions{TTL: ttl})
			require.NoError(t, err)
		}
		s.clock.pass(10)
		j.refuseWith(errRefused)
		s.sweep()
		require.NoError(t, s.Check())
		require.EqualValues(t, 5, s.Stats().Keys)
		j.refuseWith(nil)
		s.sweep()
		require.Zero(t, s.Stats().Keys)
		require.NoError(t, s.Check())
	}
}

// strict is a journal that takes a write only where the last question was for as many bytes as its entries have.
type strict struct {
	*fakeJournal
	asked int64
}

func (j *strict) Admit(size int64) error {
	j.asked = size
	return nil
}

func (j *strict) Append(floor uint64, entries []*Entry) (uint64, error) {
	if size := int64(entries[0].Size()); size > j.asked {
		return 0, &NotAdmittedError{Size: size}
	}
	return j.fakeJournal.Append(floor, entries)
}

// A sweep asks for the room that its deletions need, where long keys need much, and removes all.
func TestSweepAsksForRoom(t *testing.T) {
	s := openTest(t, Options{Journal: &strict{fakeJournal: newFakeJournal()}}, 0)
	for i := range 40 {
		s.setFor(t, fmt.Sprint(strings.Repeat("key", 1+i%2*chunkBytes), i), 5)
	}
	s.clock.pass(10)
	s.sweep()
	require.Zero(t, s.Stats().Keys)
	require.EqualValues(t, 40, s.Stats().Expired)
}

// What is noted has nothing to do with where a key is: a split, or a write that puts off what is due while the sweeper is about
// to look at it, loses nothing.
func TestSweepFindsWhatWasMovedAndPutOff(t *testing.T) {
	s := openTest(t, Options{}, fullHash>>shardBits)
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint("key", i))
		s.setFor(t, keys[i], 1)
	}
	s.clock.pass(1000)
	// What sweepShard does, with writes in the middle of it.
	sh := &s.shards[0]
	now := s.Store.clock.now()
	due := s.takeDue(nil, sh, now)
	require.Len(t, due, 100)
	for i := range 5000 { // so that segments grow
		s.put(t, fmt.Sprint("more", i), "")
	}
	for _, k := range keys[:50] {
		s.setFor(t, k, 5000)
	}
	require.NoError(t, s.sweepHashes(sh, due, now))
	require.EqualValues(t, 5050, s.Stats().Keys)
	require.Equal(t, 50, sh.due.n)
	require.NoError(t, s.Check())
	s.clock.pass(5999)
	s.sweep()
	require.EqualValues(t, 5000, s.Stats().Keys)
}

// There is about one note for each key that expires, however often its expiry is set, put off, brought forward or taken away.
func TestNotesAreBounded(t *testing.T) {
	rounds := 8 * spareNotes
	tests := []struct {
		name  string
		write func(s opened, key string, i int)
	}{
		{"put off", func(s opened, key string, i int) { s.setFor(t, key, uint64(3600_000+i)) }},
		{"brought forward", func(s opened, key string, i int) { s.setFor(t, key, uint64(1000*(rounds+1-i))) }},
		{"taken away", func(s opened, key string, i int) { s.setFor(t, key, uint64(1+i%2)/2*3600_000) }},
		{"deleted", func(s opened, key string, i int) {
			s.setFor(t, key, 3600_000)
			s.del(t, key)
		}},
		{"in a transaction", func(s opened, key string, i int) {
			_, _, err := s.Txn(nil, nil, []Op{
				{Kind: OpSet, Key: []byte(key), TTL: uint64(1000 * (rounds + 1 - i))},
				{Kind: OpSet, Key: []byte("other"), TTL: 3600_000},
			})
			require.NoError(t, err)
		}},
	}
	for _, m := range masks {
		for _, test := range tests {
			t.Run(m.name+"/"+test.name, func(t *testing.T) {
				s := openTest(t, Options{}, m.mask)
				used := s.budget.used.Load()
				for i := range rounds {
					test.write(s, fmt.Sprint("key", i%2), i)
					if i%500 == 0 {
						s.sweep()
					}
				}
				s.sweep()
				notes := 0
				for i := range s.shards {
					if s.shards[i].due != nil {
						notes += s.shards[i].due.n
					}
				}
				require.LessOrEqual(t, notes, 3*(spareNotes+500))
				require.Less(t, s.budget.used.Load()-used, int64(1<<20+shardCount*calendarMemory))
			})
		}
	}
}

// Notes cost memory that is counted, and is given back when there are none left.
func TestNotesAreAccountedFor(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	calendars := func() int64 { return s.budget.used.Load() - s.table.Resident() }
	require.Zero(t, calendars())
	const n = 10_000
	for i := range n {
		s.setFor(t, fmt.Sprint("key", i), uint64(1000+i))
	}
	require.Greater(t, calendars(), int64(n*16))
	s.clock.pass(20_000)
	s.sweep()
	require.Equal(t, shardCount*calendarMemory, calendars())
}

// A sweep looks at what is due and at nothing else.
func TestSweepTouchesOnlyWhatIsDue(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 20_000 {
		s.setFor(t, fmt.Sprint("key", i), uint64(1000*(1+i%20)))
	}
	looked := func() (n int) {
		for i := range s.shards {
			sh := &s.shards[i]
			was := map[uint64]int{}
			sh.due.each(func(h uint64, _ uint32) { was[h]++ })
			now := s.Store.clock.now()
			due := s.takeDue(nil, sh, now)
			n += len(due)
			require.NoError(t, s.sweepHashes(sh, due, now))
		}
		return n
	}
	for second := range 20 {
		s.clock.pass(500)
		require.Zero(t, looked())
		s.clock.pass(500)
		require.Equal(t, 1000, looked())
		require.EqualValues(t, 20_000-1000*(second+1), s.Stats().Keys)
	}
}

// Check holds up a sweep too: in the middle of one, what is noted of expiries is not yet right.
func TestCheckBesideASweep(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 300 {
		_, err := s.Set(fmt.Append(nil, "key", i), nil, SetOptions{TTL: uint64(1 + i%100)})
		require.NoError(t, err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.clock.pass(1)
				s.sweep()
			}
		}
	})
	for range 100 {
		require.NoError(t, s.Check())
	}
	close(stop)
	wg.Wait()
}

// A sweep removes just what it saw: a key that was set anew in between stays.
func TestSweepRemovesOnlyWhatItSaw(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	key := []byte("key")
	_, err := s.Set(key, nil, SetOptions{TTL: 1})
	require.NoError(t, err)
	saw := s.Get(key)
	s.clock.pass(1)
	s.put(t, "key", "anew")
	remove := func(e *Entry) error {
		_, err := s.Store.commitOne(&change{hash: s.hash(key), entry: newTombstone(key), only: e.Version()})
		return err
	}
	require.ErrorIs(t, remove(saw), errNothing)
	require.Equal(t, "anew", text(s.Get(key)))
	require.NoError(t, remove(s.Get(key)))
	require.Nil(t, s.Get(key))
}

// sweepMany has so many keys of a store that proposes expire at once, and begins a sweep; swept is closed when that ends.
func sweepMany(t *testing.T, keys int) (s opened, r *fakeReplica, swept <-chan struct{}) {
	s, r = openReplica(t, Options{}, fullHash)
	for i := range keys {
		_, err := s.Set(fmt.Append(nil, "key", i), nil, SetOptions{TTL: 10})
		require.NoError(t, err)
	}
	require.NoError(t, s.Flush())
	s.clock.pass(10)
	s.tellTime()
	require.True(t, r.commit())
	return s, r, sweeping(s)
}

// sweeping begins a sweep, and returns what is closed when that ends.
func sweeping(s opened) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.sweepDue()
	}()
	return done
}

// However much expires at once, few deletions are under way at a time: what others write is not behind all of them. All
// keys are removed in the end, and none is looked for again then.
func TestFewDeletionsAreUnderWay(t *testing.T) {
	s, r, swept := sweepMany(t, 10*mostProposed)
	most := 0
	for done := false; !done; {
		r.mu.Lock()
		most = max(most, len(r.pending))
		full := len(r.pending) >= mostProposed
		r.mu.Unlock()
		for full && r.commit() {
		}
		select {
		case <-swept:
			done = true
		default:
			runtime.Gosched()
		}
	}
	require.Less(t, most, mostProposed+table.WarmAtOnce)
	for r.commit() {
	}
	require.Zero(t, s.Stats().Keys)
	s.sweepDue()
	require.Empty(t, r.pending)
	for i := range s.shards {
		s.shards[i].due.each(func(uint64, uint32) { t.Error("a note is left") })
	}
}

// A sweep that waits for its deletions goes on once they will never be applied, and they are proposed anew by whoever
// leads then.
func TestSweepOfADeposedLeader(t *testing.T) {
	const keys = 3 * mostProposed
	s, r, swept := sweepMany(t, keys)
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.pending) >= mostProposed
	}, time.Minute, time.Millisecond)
	r.depose(0)
	<-swept
	require.EqualValues(t, keys, s.Store.Stats().Keys)
	r.lead()
	for s.Store.Stats().Keys > 0 {
		swept := sweeping(s)
		for done := false; !done; {
			select {
			case <-swept:
				done = true
			default:
				r.commit()
			}
		}
		for r.commit() {
		}
	}
}

// History grows too old wherever it is, also where nothing can be deleted: at a replica that follows, and in a store
// that takes no writes.
func TestHistoryGrowsOldWithoutWrites(t *testing.T) {
	o := Options{History: 3, HistoryAge: time.Second}
	write := func(s opened) {
		for i := range 50 {
			for range 3 {
				s.put(t, fmt.Sprint("key", i), "value")
			}
		}
		require.NoError(t, s.Flush())
		require.NotZero(t, s.Store.Stats().History)
	}
	t.Run("a replica that follows", func(t *testing.T) {
		s, r := openReplica(t, o, fullHash)
		write(s)
		r.depose(0)
		now := uint64(fakeStart/1000 + 5000)
		require.NoError(t, s.Apply(r.last+1, []*Entry{NewTime(0, now)}))
		for range followerSweeps {
			s.sweep()
		}
		require.Zero(t, s.Store.Stats().History)
		require.Empty(t, r.pending)
	})
	t.Run("a store that takes no writes", func(t *testing.T) {
		j := newFakeJournal()
		o := o
		o.Journal = j
		s := openTest(t, o, fullHash)
		write(s)
		s.clock.pass(5000)
		j.refuseWith(errRefused)
		s.sweep()
		require.Zero(t, s.Store.Stats().History)
	})
}
