package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How much history is kept changes at one place in the journal: a replica that was opened with another depth keeps the
// same from there on.
func TestHowMuchIsKeptIsInTheJournal(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			s, r := openReplica(t, Options{History: 3}, m.mask)
			follower, _ := openReplica(t, Options{History: 7}, m.mask)
			kept := func(s *Store, key string) int {
				c := s.Session()
				defer c.Close()
				return len(c.History(nil, []byte(key), 0)) - 1
			}
			applied := 0
			write := func(n int, keys ...string) {
				for i := range n {
					for _, k := range keys {
						_, err := s.Set([]byte(k), fmt.Append(nil, i), SetOptions{})
						require.NoError(t, err)
					}
				}
			}
			commit := func() {
				for r.commit() {
				}
				for ; applied < len(r.log); applied++ {
					require.NoError(t, follower.Apply(r.log[applied].version, r.log[applied].copies()))
				}
			}
			require.NoError(t, s.SetHistory(5, 0))
			write(10, "a", "b")
			commit()
			require.Equal(t, 5, s.HistoryDepth())
			require.Equal(t, walkedAll(t, s.Store), walkedAll(t, follower.Store))
			require.Equal(t, 5, kept(follower.Store, "a"))

			write(1, "a")
			require.NoError(t, s.SetHistory(2, 0))
			write(1, "a")
			require.Equal(t, 5, kept(s.Store, "b"), "not before it is committed")
			commit()
			require.Equal(t, 2, kept(s.Store, "a"))
			require.Equal(t, 2, kept(s.Store, "b"), "also of what is not written any more")
			require.Equal(t, walkedAll(t, s.Store), walkedAll(t, follower.Store))
			require.NoError(t, follower.Check())

			require.NoError(t, s.SetHistory(9, time.Minute))
			write(20, "a")
			commit()
			require.Equal(t, 9, kept(follower.Store, "a"))
			require.Equal(t, time.Minute, follower.HistoryAge())
			require.Equal(t, walkedAll(t, s.Store), walkedAll(t, follower.Store))
			require.NoError(t, follower.Check())

			require.ErrorIs(t, s.SetHistory(0, 0), errHistoryFixed)
			none, _ := openReplica(t, Options{}, m.mask)
			require.ErrorIs(t, none.SetHistory(1, 0), errHistoryFixed)
			require.ErrorIs(t, none.Apply(1, []*Entry{NewDepth(1, 1)}), errHistoryFixed)
		})
	}
}

// An age that the journal brings counts for what is kept already.
func TestAnAgeThatTheJournalBrings(t *testing.T) {
	s, r := openReplica(t, Options{History: 5}, ^uint64(0))
	for i := range 4 {
		_, err := s.Set([]byte("a"), fmt.Append(nil, i), SetOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, s.SetHistory(5, 100*time.Millisecond))
	for r.commit() {
	}
	require.NoError(t, s.Check())
	require.Len(t, s.History(nil, []byte("a"), 0), 4)
	s.clock.pass(1000)
	s.sweep()
	for r.commit() {
	}
	s.sweep()
	require.Len(t, s.History(nil, []byte("a"), 0), 1)
	require.EqualValues(t, 0, s.Store.Stats().History)
}

// A store refuses what another replica has no room for.
func TestALimitOfOthers(t *testing.T) {
	s, r := openReplica(t, Options{MaxMemory: 64 << 20}, ^uint64(0))
	fill := func() error {
		for i := range 10_000 {
			if _, err := s.Set(fmt.Append(nil, i), make([]byte, 1000), SetOptions{}); err != nil {
				return err
			}
			for r.commit() {
			}
		}
		return nil
	}
	s.LimitTo(4 << 20)
	require.ErrorIs(t, fill(), ErrOutOfMemory)
	require.LessOrEqual(t, s.Store.Stats().MemoryBytes, uint64(5<<20))
	s.LimitTo(128 << 20)
	require.NoError(t, fill(), "not more than its own")
	s.LimitTo(0)
	require.NoError(t, fill())
}
