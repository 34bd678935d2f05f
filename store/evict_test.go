package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A cache that is full takes every write, keeps to its limit, and keeps what is asked for; what it lets go is deleted for everybody, the journal too.
func TestEvict(t *testing.T) {
	for name, size := range map[string]func(rng *rand.Rand) int{
		"one size":     func(*rand.Rand) int { return 100 },
		"many sizes":   func(rng *rand.Rand) int { return rng.IntN(2000) },
		"large":        func(*rand.Rand) int { return 10_000 },
		"small, large": func(rng *rand.Rand) int { return 50 + rng.IntN(20)/19*20_000 },
	} {
		t.Run(name, func(t *testing.T) {
			j := newFakeJournal()
			limit := 20 << 20
			if raceEnabled { // whose memory is small: see testMemory
				limit = 10 << 20
			}
			s := openTest(t, Options{MaxMemory: int64(limit), Evict: true, Journal: j}, fullHash)
			rng := rand.New(rand.NewPCG(1, 2))
			n, bytes := 0, 0
			hot := func(i int) []byte { return fmt.Append(nil, "hot", i) }
			for i := range 20 {
				s.put(t, string(hot(i)), "value")
			}
			for ; bytes < 3*limit; n++ {
				v := make([]byte, size(rng))
				bytes += len(v) + 50
				_, err := s.Set(fmt.Append(nil, "cold", n), v, SetOptions{})
				require.NoError(t, err, n)
				require.LessOrEqual(t, s.budget.used.Load(), int64(limit+(2<<20)))
				if n%10 == 0 {
					for i := range 20 {
						s.Get(hot(i))
					}
				}
			}
			st := s.Stats()
			require.Positive(t, st.EvictedKeys)
			require.EqualValues(t, n+20, st.Keys+st.EvictedKeys)
			require.Greater(t, st.ValueBytes, uint64(limit/3), "it is full")
			for i := range 20 {
				require.NotNil(t, s.Get(hot(i)), i)
			}
			_, err := s.MSet(pairsOf("a", string(make([]byte, 3000)), "b", string(make([]byte, 3000))))
			require.NoError(t, err)
			_, err = s.Set([]byte("too large"), make([]byte, limit), SetOptions{})
			require.ErrorIs(t, err, ErrOutOfMemory)
			require.Equal(t, s.Stats().Keys, replayedFrom(t, j).Stats().Keys)
		})
	}
}

// replayedFrom is a store that has read the journal.
func replayedFrom(t *testing.T, j *fakeJournal) *Store {
	again := newFakeJournal()
	again.records = j.records
	return openTest(t, Options{Journal: again}, fullHash).Store
}

func TestEvictionExcludes(t *testing.T) {
	_, err := Open(Options{Evict: true, History: 1})
	require.ErrorContains(t, err, "both eviction and history")
	_, err = Open(Options{Evict: true, Proposes: true})
	require.ErrorContains(t, err, "both eviction and proposing")
}
