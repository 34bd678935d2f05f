package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// stateJournal gives state to load, in calls side by side of so many entries, and later to apply.
type stateJournal struct {
	*fakeJournal
	state, later []*Entry
	calls        int
}

func (j stateJournal) Replay(load, apply func([]*Entry)) (uint64, error) {
	var wg sync.WaitGroup
	for part := range slices.Chunk(j.state, j.calls) {
		wg.Go(func() { load(part) })
	}
	wg.Wait()
	for part := range slices.Chunk(j.later, 1) {
		apply(part)
	}
	return j.last, nil
}

func (j stateJournal) Expect() int64 { return int64(len(j.state)) }

// deepMask leaves a shard's keys no bit that the first segments of a directory could be told apart by.
const deepMask = fullHash >> (shardBits + 4)

// TestLoad: a store that is given a state in any order, and then what was written since, some of it twice, is the one that
// had the same writes put into it one by one.
func TestLoad(t *testing.T) {
	run := func(mask uint64) func(*rapid.T) {
		return func(t *rapid.T) {
			keep := rapid.SampledFrom([]int{0, 2}).Draw(t, "keep")
			keys := rapid.IntRange(1, 40).Draw(t, "keys")
			deletions := rapid.SampledFrom([]int{0, 20, 50}).Draw(t, "percent of deletions")
			size := rapid.SampledFrom([]int{50, 5000}).Draw(t, "size") // of values: large ones make apply build
			limit := rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "limit")
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			var writes []*Entry
			exists := map[string]bool{} // a journal holds no deletion of what does not exist
			for i := range rapid.IntRange(0, 100).Draw(t, "writes") {
				key := fmt.Append(nil, "key", rng.IntN(keys))
				switch {
				case rng.IntN(100) < deletions && exists[string(key)]:
					writes = append(writes, NewEntry(uint64(i+1), key, nil, 0, true))
				case rng.IntN(4) == 0:
					expiry := uint64(fakeStart/1000 - 5 + rng.IntN(10))
					writes = append(writes, NewEntry(uint64(i+1), key, make([]byte, rng.IntN(size)), expiry, false))
				default:
					writes = append(writes, NewEntry(uint64(i+1), key, make([]byte, rng.IntN(size)), 0, false))
				}
				exists[string(key)] = !writes[i].Deleted()
			}
			cut := rapid.IntRange(0, len(writes)).Draw(t, "cut")
			state := slices.Clone(writes[:cut])
			rng.Shuffle(len(state), func(i, j int) { state[i], state[j] = state[j], state[i] })
			later := writes[rapid.IntRange(0, cut).Draw(t, "again from"):]

			one := openTest(t, Options{History: keep}, mask)
			for _, e := range writes {
				h := one.hash(e.Key())
				one.replay(one.shardOf(h), h, e, one.HistoryDepth())
			}
			one.loaded()
			all := openTest(t, Options{History: keep, MaxMemory: limit, Journal: stateJournal{newFakeJournal(), state, later, 1 + rng.IntN(30)}}, mask)
			require.Equal(t, dumpOf(t, one.Store), dumpOf(t, all.Store))
			for range 3 {
				require.NoError(t, all.Check())
				a, b := one.Stats(), all.Stats()
				a.MemoryBytes, b.MemoryBytes = 0, 0 // the directories may have grown in another way
				require.Equal(t, a, b)
				for i := range keys {
					key := fmt.Append(nil, "key", i)
					require.Equal(t, text(one.Get(key)), text(all.Get(key)))
				}
				one.sweep()
				all.sweep()
				one.clock.pass(3)
				all.clock.pass(3)
			}
			for i := range 2 * keys {
				key := fmt.Append(nil, "key", i)
				one.Set(key, nil, SetOptions{})
				all.Set(key, nil, SetOptions{})
			}
			require.NoError(t, all.Check())
		}
	}
	for _, m := range masks {
		t.Run(m.name, rapid.MakeCheck(run(m.mask)))
	}
	t.Run("deep", rapid.MakeCheck(run(deepMask)))
}

// TestLoadManyKeys: whatever the number of keys, all is found, and there is room for more.
func TestLoadManyKeys(t *testing.T) {
	for _, m := range []struct {
		name string
		mask uint64
		most int
	}{{"whole", fullHash, 200_000}, {"oneShard", fullHash >> shardBits, 20_000}, {"deep", deepMask, 20_000}, {"low4", 0xf, 500}, {"constant", 0, 500}} {
		for n := range 5 {
			n = m.most * n * n / 16
			if raceEnabled {
				n /= 8
			}
			t.Run(fmt.Sprint(m.name, n), func(t *testing.T) {
				key := func(i int) []byte { return fmt.Append(nil, "key", i) }
				state := make([]*Entry, n)
				for i := range state {
					state[i] = NewEntry(uint64(i+1), key(i), key(i), 0, false)
				}
				s := openTest(t, Options{Journal: stateJournal{newFakeJournal(), state, nil, 3000}}, m.mask)
				require.NoError(t, s.Check())
				require.EqualValues(t, n, s.Stats().Keys)
				for i, e := range state {
					require.Equal(t, e, s.Get(key(i)))
				}
				for i := range n / 4 {
					s.put(t, string(key(n+i)), "")
				}
			})
		}
	}
}

// What a journal says of history that was given up holds for a state that is loaded before it, and is no matter of when
// it is carried out.
func TestLoadForgets(t *testing.T) {
	value := func(version uint64) *Entry { return NewEntry(version, []byte("a"), nil, 0, false) }
	s := openTest(t, Options{History: 9, Journal: stateJournal{
		newFakeJournal(), []*Entry{value(2), value(1), value(3)}, []*Entry{value(5), NewForget(6, 3), value(7)}, 1,
	}}, fullHash)
	var kept []uint64
	for _, r := range s.History(nil, []byte("a"), 0) {
		kept = append(kept, r.Entry.Version())
	}
	require.Equal(t, []uint64{7, 5}, kept)
	require.NoError(t, s.Check())
}
