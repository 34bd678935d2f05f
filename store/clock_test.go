package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	day  = int64(24*time.Hour) / 1000 // in microseconds
	year = 365 * day
)

func (o opened) setFor(t fatal, key string, ttl uint64) {
	t.Helper()
	_, err := o.Set([]byte(key), []byte("value"), SetOptions{TTL: ttl})
	require.NoError(t, err)
}

// A clock that was wrong for a while leaves nothing behind: no expiry and no version that is given later knows of it, and a
// time to live is as long as it should be.
func TestClockThatWasWrong(t *testing.T) {
	tests := []struct {
		name  string
		wrong int64
		sweep bool // while it is wrong
	}{
		{"a day ahead", day, true},
		{"a day ahead, unnoticed", day, false},
		{"in 2076", 53 * year, true},
		{"a day behind", -day, true},
		{"in 1970", -fakeStart, true},
	}
	for _, test := range tests {
		for _, history := range []int{0, 2} {
			t.Run(test.name, func(t *testing.T) {
				s := openTest(t, Options{History: history}, fullHash)
				before := s.put(t, "before", "")
				s.clock.wall.Add(test.wrong)
				if test.sweep {
					s.sweep()
				}
				s.clock.wall.Add(-test.wrong)

				s.setFor(t, "lock", 30_000)
				e := s.Get([]byte("lock"))
				require.NotNil(t, e)
				require.EqualValues(t, fakeStart/1000+30_000, e.Expiry())
				require.Less(t, e.Version()-before, uint64(day), "a version of the wrong time")
				require.NotNil(t, s.MGet(nil, keysOf("lock"))[0])
				results, _, err := s.Txn(nil, nil, []Op{{Kind: OpSet, Key: []byte("own"), TTL: 30_000}, {Kind: OpGet, Key: []byte("own")}})
				require.NoError(t, err)
				require.NotNil(t, results[1].Entry, "what the transaction itself wrote")
				s.sweep()
				require.EqualValues(t, 3, s.Stats().Keys)

				s.clock.pass(29_999)
				require.NotNil(t, s.Get([]byte("lock")))
				s.clock.pass(1)
				require.Nil(t, s.Get([]byte("lock")))
				require.Nil(t, s.MGet(nil, keysOf("own"))[0])
				s.sweep()
				require.EqualValues(t, 1, s.Stats().Keys)
			})
		}
	}
}

// What expired while the clock was ahead stays absent, and what was written before goes on by its own time.
func TestClockEras(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.setFor(t, "hour", 3600_000)
	s.setFor(t, "days", 2*uint64(day)/1000)
	s.clock.wall.Add(day)
	require.NotNil(t, s.Get([]byte("hour")), "a reader does not follow the wall clock")
	s.followClock()
	require.Nil(t, s.Get([]byte("hour")))
	s.clock.wall.Add(-day)
	s.setFor(t, "new", 2*uint64(day)/1000)
	require.Nil(t, s.Get([]byte("hour")), "not swept yet, and absent all the same")
	require.NotNil(t, s.Get([]byte("days")))
	s.clock.pass(day / 1000)
	require.Nil(t, s.Get([]byte("days")))
	require.NotNil(t, s.Get([]byte("new")))
	s.sweep()
	require.EqualValues(t, 1, s.Stats().Keys)
	require.Len(t, s.Store.clock.state.Load().past, 1)

	// The wall clock jumps to where it had been: one time for all again. The sweeper finds what this made expire, though it
	// had noted a later time.
	s.clock.wall.Add(day)
	s.sweep()
	require.Zero(t, s.Stats().Keys)
	require.Empty(t, s.Store.clock.state.Load().past)
}

// Many steps back do not make the state grow without end, and nothing that has expired comes back.
func TestClockManyStepsBack(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 3 * maxEras {
		key := string(rune('a' + i))
		s.setFor(t, key, 5000)
		s.clock.pass(1000)
		s.clock.wall.Add(-3600_000_000)
	}
	s.setFor(t, "last", 5000)
	require.Len(t, s.Store.clock.state.Load().past, maxEras)
	for i := range 3*maxEras - 5 {
		require.Nil(t, s.Get([]byte{byte('a' + i)}))
	}
	require.NotNil(t, s.Get([]byte("last")))
	s.sweep()
	require.LessOrEqual(t, s.Stats().Keys, uint64(6))
}

// What expires as the clock jumps ahead is removed by the next sweep, though the clock is set back again before it, and there
// are as many eras as were at the sweep before.
func TestClockThatJumpedBetweenTwoSweeps(t *testing.T) {
	for _, test := range []struct {
		name        string
		eras        int   // before the first sweep
		ahead, back int64 // in days
	}{
		{"where the clock has been furthest ahead", 1, 21, -30},
		{"not as far as that", 2, 15, -30},
		{"of as many eras as are told apart", maxEras, 15, -30},
		{"of more", 2 * maxEras, 15, -30},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t, Options{}, fullHash)
			for i := range test.eras {
				s.setFor(t, fmt.Sprint("for long ", i), uint64(year)/1000)
				s.clock.wall.Add(-20 * day)
				s.followClock()
			}
			s.setFor(t, "key", 10*uint64(day)/1000)
			s.sweep()
			s.clock.wall.Add(test.ahead * day)
			s.followClock()
			require.Nil(t, s.Get([]byte("key")))
			s.clock.wall.Add(test.back * day)
			s.followClock()
			s.sweep()
			require.EqualValues(t, test.eras, s.Stats().Keys)
			require.NoError(t, s.Check())
		})
	}
}

// Entries that were there when the store was opened are of the first era.
func TestClockStepsBackAfterARestart(t *testing.T) {
	j := newFakeJournal()
	j.records = []record{{fakeStart, []*Entry{NewEntry(fakeStart, []byte("old"), nil, fakeStart/1000+1000, false)}}}
	s := openTest(t, Options{Journal: j}, fullHash)
	s.clock.wall.Add(-day)
	s.setFor(t, "new", 1000)
	s.clock.pass(999)
	require.NotNil(t, s.Get([]byte("old")))
	require.NotNil(t, s.Get([]byte("new")))
	s.clock.pass(1)
	require.Nil(t, s.Get([]byte("old")))
	require.Nil(t, s.Get([]byte("new")))
}

// Each jump is told once, and what is too little to be one is not.
func TestClockJumpsAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := openTest(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fullHash)
	tests := []struct {
		step  int64
		wants string
	}{
		{jump - 1, ""},
		{-2 * (jump - 1), "set back"}, // from the furthest that it was
		{500_000, ""},
		{jump - 1, ""},
		{day, `jumped ahead: keys that expire in what it left out are gone" by=24h0m0`},
		{-day, `set back: keys that are written from now on expire by it, earlier ones when they would have" by=24h0m0s`},
	}
	for i, test := range tests {
		log.Reset()
		s.clock.wall.Add(test.step)
		s.sweep()
		s.setFor(t, "key", 1000)
		s.sweep()
		if test.wants == "" {
			require.Empty(t, log.String(), i)
			continue
		}
		require.Contains(t, log.String(), test.wants, i)
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")), i)
	}
}

// While the wall clock is set back, what was just set is there, whatever else reads, and what has expired stays away.
func TestClockStepsBackBesideReadersAndWriters(t *testing.T) {
	s := openTest(t, Options{History: 1}, fullHash)
	s.setFor(t, "dead", 1)
	s.clock.pass(1)
	stop := make(chan struct{})
	var ahead sync.RWMutex // held while the clock jumps forward, which may well end what was just set
	var all sync.WaitGroup
	var turns [3]atomic.Int64
	each := func(n int, f func(c *Session, i int64)) {
		all.Go(func() {
			c := s.Store.Session()
			defer c.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				ahead.RLock()
				f(c, turns[n].Add(1))
				ahead.RUnlock()
			}
		})
	}
	const ttl = 10 * uint64(day) / 1000
	for n, name := range []string{"a", "b"} {
		each(n, func(c *Session, i int64) {
			key := fmt.Append(nil, name, i%50)
			version, err := c.Set(key, nil, SetOptions{TTL: ttl})
			assert.NoError(t, err)
			if e := c.Get(key); assert.NotNil(t, e) {
				assert.Equal(t, version, e.Version())
			}
			results, _, err := c.Txn(nil, nil, []Op{{Kind: OpSet, Key: key, TTL: ttl}, {Kind: OpGet, Key: key}})
			assert.NoError(t, err)
			assert.NotNil(t, results[1].Entry)
			assert.NotNil(t, c.MGet(nil, [][]byte{key})[0])
		})
	}
	each(2, func(c *Session, i int64) {
		assert.Nil(t, c.Get([]byte("dead")))
		assert.Nil(t, c.MGet(nil, keysOf("dead"))[0])
	})
	for range soak(15, 1000) {
		ahead.Lock()
		s.clock.wall.Add(20 * day)
		s.followClock()
		ahead.Unlock()
		s.clock.wall.Add(-21 * day)
		for n := range turns {
			for at := turns[n].Load(); turns[n].Load() < at+3; {
				runtime.Gosched()
			}
		}
		s.sweep()
	}
	close(stop)
	all.Wait()
}

// Many keys that are read side by side are read in their order as regards time, too: who finds the first one expired
// finds what was written to the others before that. And the clock is read once for all, after they were found: a key of
// which another has seen that it expired is not there any more.
func TestManyExpireInOrder(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.setFor(t, "first", 10)
	s.setFor(t, "longer", 1000)
	s.setFor(t, "last", 20)
	s.put(t, "other", "old")
	read, reads := s.Store.clock.mono, 0
	other := s.Store.Session()
	defer other.Close()
	s.Store.clock.mono = func() int64 {
		if reads++; reads == 1 { // they have been found
			s.clock.pass(15)
			_, err := other.Set([]byte("other"), []byte("new"), SetOptions{})
			require.NoError(t, err)
		}
		return read()
	}
	look := func() (values []string) {
		keys := keysOf("first", "other", "longer", "absent", "last")
		found := make([]Found, len(keys))
		v := s.View()
		defer v.Close()
		v.GetMany(found, keys)
		for _, e := range found {
			if !e.Exists() {
				values = append(values, "absent")
				continue
			}
			values = append(values, string(e.Value()))
		}
		return values
	}
	require.Equal(t, []string{"absent", "new", "value", "absent", "value"}, look())
	s.clock.pass(10)
	require.Equal(t, []string{"absent", "new", "value", "absent", "absent"}, look())
	s.sweep()
	s.setFor(t, "last", 1000)
	s.clock.pass(1)
	before := reads
	require.Equal(t, []string{"absent", "new", "value", "absent", "value"}, look())
	require.Equal(t, before+1, reads, "the clock is read once")
	require.EqualValues(t, 15, s.gets)
	require.EqualValues(t, 2+3+2, s.misses)
}
