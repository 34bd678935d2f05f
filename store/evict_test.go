package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A cache that is full takes every write, keeps to its limit, and keeps what is asked for; what it lets go is deleted
// for everybody, the journal too.
func TestEvict(t *testing.T) {
	for name, size := range map[string]func(rng *rand.Rand) int{
		"one size":     func(*rand.Rand) int { return 400 },
		"many sizes":   func(rng *rand.Rand) int { return rng.IntN(2000) },
		"large":        func(*rand.Rand) int { return 10_000 },
		"small, large": func(rng *rand.Rand) int { return 50 + rng.IntN(20)/19*20_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newFakeJournal()
			const limit = 8 << 20
			s := openTest(t, Options{MaxMemory: int64(limit), Evict: true, Journal: j}, fullHash)
			rng := rand.New(rand.NewPCG(1, 2))
			n, bytes := 0, 0
			hot := func(i int) []byte { return fmt.Append(nil, "hot", i) }
			for i := range 20 {
				s.put(t, string(hot(i)), "value")
			}
			for ; bytes < 2*limit; n++ {
				v := make([]byte, size(rng))
				bytes += len(v) + 50
				_, err := s.Set(fmt.Append(nil, "cold", n), v, SetOptions{})
				require.NoError(t, err, n)
				require.LessOrEqual(t, s.budget.used.Load(), int64(limit+limit/8))
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

// A cache refuses no write as long as there is something to evict: whatever is written, in whatever sizes, and however
// often those change, down to the least that kvd takes.
func TestCacheTakesEveryWrite(t *testing.T) {
	const pairs = 20
	type write func(c opened, n int, size func() int) error
	key := func(n int) []byte { return fmt.Append(nil, "key", n) }
	several := func(n int, size func() int) (all []Pair) {
		for i := range pairs {
			all = append(all, Pair{key(n*pairs + i), make([]byte, size())})
		}
		return all
	}
	writes := map[string]write{
		"Set": func(c opened, n int, size func() int) error {
			_, err := c.Set(key(n), make([]byte, size()), SetOptions{TTL: uint64(n%2) * 1000})
			return err
		},
		"MSet": func(c opened, n int, size func() int) error {
			_, err := c.MSet(several(n, size))
			return err
		},
		"Txn": func(c opened, n int, size func() int) error {
			ops := []Op{{Kind: OpGet, Key: key(n - 1)}, {Kind: OpDel, Key: key(n - 2)}}
			for _, p := range several(n, size) {
				ops = append(ops, Op{Kind: OpSet, Key: p.Key, Value: p.Value})
			}
			_, _, err := c.Txn(nil, nil, ops)
			return err
		},
		"Update": func(c opened, n int, size func() int) error {
			keys := [][]byte{key(n), key(n - 1)}
			_, err := c.Update(keys, func(u *Update) error {
				if e := u.Get(keys[1]); e.Exists() && e.Len() < 1000 {
					u.Set(keys[1], append(e.Value(), "longer"...), 0)
				}
				u.Set(keys[0], make([]byte, size()), 0)
				return nil
			})
			return err
		},
	}
	const limit = 2816 << 10
	sizes := map[string]func(rng *rand.Rand, turn int) int{
		"of all lengths":    func(rng *rand.Rand, _ int) int { return rng.IntN(5000) },
		"of all magnitudes": func(rng *rand.Rand, _ int) int { return rng.IntN(1 << (4 + rng.IntN(12))) },
		"few large":         func(rng *rand.Rand, _ int) int { return 50 + rng.IntN(20)/19*20_000 },
		"hardly any large":  func(rng *rand.Rand, _ int) int { return 500 + rng.IntN(100)/99*20_000 },
		"in turns": func(_ *rand.Rand, turn int) int {
			all := []int{1000, 10_000, 200, 3000, limit / 50, 500, 5000, 100, limit / 44}
			return all[turn%len(all)]
		},
	}
	for name, write := range writes {
		for sized, size := range sizes {
			t.Run(name+" "+sized, func(t *testing.T) {
				t.Parallel()
				s := openTest(t, Options{MaxMemory: limit, Evict: true}, fullHash)
				rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
				written := 0
				for n := 0; written < soak(4, 200)*limit; n++ {
					require.NoError(t, write(s, n+2, func() int {
						size := size(rng, 2*written/limit)
						written += size + 50
						return size
					}), n)
					s.clock.pass(1)
					if n%100 == 0 {
						s.sweep()
					}
				}
				require.Positive(t, s.Stats().EvictedKeys)
				require.Positive(t, s.Stats().Keys)
			})
		}
	}
}

// Many writers at once are refused nothing, beside readers, a sweeper, a journal that has no room now and then, and a
// part of the limit that is withheld for a while.
func TestCacheTakesWritesOfMany(t *testing.T) {
	const limit = 6 << 20
	j := &crowdedJournal{fakeJournal: newFakeJournal()}
	s := openTest(t, Options{MaxMemory: limit, Evict: true, Journal: j}, fullHash)
	var written atomic.Int64
	done := func() bool { return written.Load() > int64(soak(5, 200))*limit }
	var others, writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			c := s.Store.Session()
			defer c.Close()
			rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
			for n := 0; !done(); n++ {
				var pairs []Pair
				for range 1 + rng.IntN(3)*rng.IntN(20) {
					pairs = append(pairs, Pair{fmt.Append(nil, "key", i, rng.IntN(100_000)), make([]byte, rng.IntN(1<<(4+rng.IntN(12))))})
					written.Add(int64(len(pairs[len(pairs)-1].Value)) + 50)
				}
				if _, err := c.MSet(pairs); !assert.NoError(t, err) {
					written.Add(1 << 40)
				}
			}
		})
	}
	for range 2 {
		others.Go(func() {
			c := s.Store.Session()
			defer c.Close()
			rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
			for !done() {
				v := c.View()
				for range rng.IntN(100) {
					v.Get(fmt.Append(nil, "key", rng.IntN(4), rng.IntN(100_000)))
				}
				runtime.Gosched() // as a reader whose processor is wanted for something else
				v.Close()
			}
		})
	}
	others.Go(func() {
		for n := 0; !done(); n++ {
			s.sweep()
			s.Withhold(int64(n%2) * limit / 4)
			runtime.Gosched()
		}
		s.Withhold(0)
	})
	writers.Wait()
	others.Wait()
	require.Positive(t, s.Stats().Keys)
	require.Positive(t, j.refused.Load())
}

// crowdedJournal does not admit some of the writes.
type crowdedJournal struct {
	*fakeJournal
	n, refused atomic.Int64
}

func (j *crowdedJournal) Append(floor uint64, entries []*Entry) (uint64, error) {
	if j.n.Add(1)%7 == 0 {
		j.refused.Add(1)
		return 0, &NotAdmittedError{Size: 1}
	}
	return j.fakeJournal.Append(floor, entries)
}

// A writer that needs what somebody is still reading waits for him, and nothing else goes for that meanwhile. Should he
// not come to an end, the write is refused.
func TestCacheWaitsForReaders(t *testing.T) {
	const limit = 6 << 20
	value := make([]byte, 1000)
	full := func() (s opened, n int) {
		s = openTest(t, Options{MaxMemory: limit, Evict: true}, fullHash)
		for ; s.Stats().EvictedKeys == 0; n++ {
			s.put(t, fmt.Sprint("key", n), string(value))
		}
		return s, n
	}
	t.Run("who ends", func(t *testing.T) {
		s, n := full()
		reader := s.Store.Session()
		defer reader.Close()
		v := reader.View()
		before := s.Stats().EvictedKeys
		written := make(chan error)
		go func() {
			c := s.Store.Session()
			defer c.Close()
			for i := range n / 4 {
				if _, err := c.Set(fmt.Append(nil, "new", i), value, SetOptions{}); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		assert.Eventually(t, func() bool { return someoneIn("Domain).WaitForReaders") }, 10*time.Second, time.Millisecond)
		waiting := s.Stats().EvictedKeys
		v.Close()
		require.NoError(t, <-written)
		require.Less(t, int(waiting-before), n/4)
	})
	t.Run("who stays", func(t *testing.T) {
		s, n := full()
		reader := s.Store.Session()
		defer reader.Close()
		v := reader.View()
		var err error
		for i := 0; err == nil; i++ {
			_, err = s.Set(fmt.Append(nil, "new", i), value, SetOptions{})
		}
		require.ErrorIs(t, err, ErrOutOfMemory)
		evicted := s.Stats().EvictedKeys
		require.Less(t, int(evicted), n/2)
		for i := range 1000 {
			if _, err = s.Set(fmt.Append(nil, "another", i), value, SetOptions{}); err != nil {
				require.ErrorIs(t, err, ErrOutOfMemory)
			}
		}
		require.Equal(t, evicted, s.Stats().EvictedKeys, "it would have been in vain")
		v.Close()
		s.put(t, "another", string(value))
	})
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
