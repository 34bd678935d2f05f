package store

import (
	"fmt"
	"runtime"
	"testing"
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
		walk = append(walk, record{e.Version(), []*Entry{e}})
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
