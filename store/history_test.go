package store

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// What falls out of a history must not stay reachable behind the end of a slice.
func TestForgottenVersionsAreFreed(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	s.put(t, "key", "old")
	old := weak.Make(s.Get([]byte("key")))
	for i := range 3 {
		s.put(t, "key", fmt.Sprint(i))
	}
	require.Equal(t, []string{"2", "1", "0"}, s.past("key"))
	runtime.GC()
	require.Nil(t, old.Value())
}

// A transaction that leaves an absent key absent leaves its history as it was, as a replay of the log does.
func TestTxnWithoutEffectLeavesHistoryAlone(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	for i := range 4 {
		s.put(t, "key", fmt.Sprint(i))
	}
	s.del(t, "key")
	want := []string{"-", "3", "2"}
	require.Equal(t, want, s.past("key"))
	_, _, err := s.Txn(nil, nil, []Op{
		{Kind: OpSet, Key: []byte("key"), Value: []byte("never seen")},
		{Kind: OpDel, Key: []byte("key")},
	})
	require.NoError(t, err)
	require.Equal(t, want, s.past("key"))
}

// A deletion is a version like any other, the oldest that is kept too, and outlives a restart.
func TestHistoryMayEndInADeletion(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{History: 2, Journal: j}, fullHash)
	s.put(t, "key", "0")
	s.del(t, "key")
	s.put(t, "key", "1")
	require.Equal(t, []string{"1", "-", "0"}, s.past("key"))
	s.put(t, "key", "2")
	want := []string{"2", "1", "-"}
	require.Equal(t, want, s.past("key"))

	var walk []record
	require.NoError(t, s.Walk(func(e *Entry) error {
		walk = append(walk, record{e.Version(), []*Entry{e.Clone()}})
		return nil
	}))
	for name, records := range map[string][]record{"log": j.records, "walk": walk} {
		for state := range len(records) + 1 {
			again := newFakeJournal()
			again.records, again.state = records, state
			require.Equal(t, want, openTest(t, Options{History: 2, Journal: again}, fullHash).past("key"), "%s from %d", name, state)
		}
	}

	_, err := s.Rollback([]byte("key"), s.History(nil, []byte("key"), 0)[2].Entry.Version())
	require.NoError(t, err)
	require.Equal(t, []string{"-", "2", "1"}, s.past("key"), "rolled back to it")
}

// No more is kept of a key's past than its age allows: earlier versions since they were replaced, deletions since they were made,
// of keys that expired by themselves too, and after a restart.
func TestHistoryAge(t *testing.T) {
	const age = 10_000 // in milliseconds
	tests := []struct {
		name  string
		write func(t *testing.T, s opened)
		want  [][]string // of "key": at once, just before it is too old, and then
	}{
		{"replaced", func(t *testing.T, s opened) {
			s.put(t, "key", "0")
			s.clock.pass(2 * age)
			s.put(t, "key", "1")
		}, [][]string{{"1", "0"}, {"1", "0"}, {"1"}}},
		{"replaced a while ago, and again", func(t *testing.T, s opened) {
			s.put(t, "key", "0")
			s.put(t, "key", "1")
			s.clock.pass(age / 2)
			s.put(t, "key", "2")
		}, [][]string{{"2", "1", "0"}, {"2", "1"}, {"2"}}},
		{"deleted", func(t *testing.T, s opened) {
			s.put(t, "key", "0")
			s.put(t, "key", "1")
			s.del(t, "key")
		}, [][]string{{"-", "1", "0"}, {"-", "1", "0"}, nil}},
		{"deleted and made again", func(t *testing.T, s opened) {
			s.put(t, "key", "0")
			s.del(t, "key")
			s.put(t, "key", "1")
		}, [][]string{{"1", "-", "0"}, {"1", "-", "0"}, {"1"}}},
		{"expired", func(t *testing.T, s opened) {
			s.put(t, "key", "0")
			s.setFor(t, "key", 1000)
			s.clock.pass(1000)
			s.sweep()
		}, [][]string{{"-", "value", "0"}, {"-", "value"}, nil}},
		{"many at once", func(t *testing.T, s opened) {
			_, err := s.MSet(pairsOf("key", "0", "other", "0"))
			require.NoError(t, err)
			_, _, err = s.Del(keysOf("key", "other"))
			require.NoError(t, err)
		}, [][]string{{"-", "0"}, {"-", "0"}, nil}},
	}
	for _, m := range masks {
		for _, test := range tests {
			t.Run(m.name+"/"+test.name, func(t *testing.T) {
				j := newFakeJournal()
				s := openTest(t, Options{History: 5, HistoryAge: age * time.Millisecond, Journal: j}, m.mask)
				test.write(t, s)
				require.Equal(t, test.want[0], s.past("key"))
				s.clock.pass(age - 1)
				require.Equal(t, test.want[1], s.past("key"))
				s.sweep()
				require.Equal(t, test.want[1], s.past("key"))
				oldest := s.History(nil, []byte("key"), 0)[len(test.want[1])-1].Entry.Version()
				s.clock.pass(2)
				require.Equal(t, test.want[2], s.past("key"), "before a sweep")
				if len(test.want[1]) > len(test.want[2]) {
					require.Nil(t, s.GetVersion([]byte("key"), oldest))
					_, err := s.Rollback([]byte("key"), oldest)
					require.ErrorIs(t, err, ErrNoVersion)
				}
				s.sweep()
				require.Zero(t, s.Stats().History)
				require.NoError(t, s.Check())
				require.Equal(t, test.want[2], s.past("key"))

				again := newFakeJournal()
				again.records = j.records
				clock := new(fakeClock)
				clock.pass(s.clock.mono.Load() / 1000)
				late, err := open(Options{History: 5, HistoryAge: age * time.Millisecond, Journal: again}, m.mask, clock.read, testMemory)
				require.NoError(t, err)
				c := late.Session()
				require.Equal(t, test.want[2], opened{late, c, clock}.past("key"), "after a restart")
				late.sweep()
				require.NoError(t, late.Check())
				require.Zero(t, late.Stats().History)
				c.Close()
				require.NoError(t, late.Close())
			})
		}
	}
}

// What expired by itself leaves nothing behind once its age has come: no keys, no history, and no memory but the table's.
func TestExpiredKeysLeaveNothing(t *testing.T) {
	s := openTest(t, Options{History: 3, HistoryAge: time.Second}, fullHash)
	used := s.budget.used.Load()
	for round := range 5 {
		for i := range 2000 {
			s.setFor(t, fmt.Sprint("session", round, i), 500)
		}
		s.clock.pass(600)
		s.sweep()
		require.Zero(t, s.Stats().Keys)
		require.EqualValues(t, 4000, s.Stats().History)
		s.clock.pass(1100)
		s.sweep()
		require.Zero(t, s.Stats().History)
	}
	require.Less(t, s.budget.used.Load()-used, int64(1<<20), "empty segments, calendars, and what is not given back yet")
}

func TestHistoryAgeIsChecked(t *testing.T) {
	for _, age := range []time.Duration{-1, -time.Hour, 1, time.Millisecond - 1} {
		_, err := Open(Options{History: 1, HistoryAge: age})
		require.ErrorContains(t, err, "it must be a millisecond or more")
	}
}
