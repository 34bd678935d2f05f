package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A write that is short of memory returns, whatever it is short by.
func TestWriteThatIsShortReturns(t *testing.T) {
	for room := int64(0); room <= 512<<10; room += 16 << 10 {
		s := openTest(t, Options{MaxMemory: 1 << 40, History: 2}, fullHash)
		for i := range 4 {
			s.put(t, "key", fmt.Sprint("value", i))
		}
		s.budget.limit = s.budget.used.Load() + room
		done := make(chan error)
		go func() {
			c := s.Store.Session()
			defer c.Close()
			_, err := c.Set([]byte("other"), []byte("value"), SetOptions{})
			done <- err
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("with %d bytes of room, Set does not return", room)
		}
	}
}

// A transaction of deletions alone gets its memory as Del does, even for what it adds to the history.
func TestTxnOfDeletionsAlwaysHasMemory(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	s.put(t, "a", "1")
	s.put(t, "b", "2")
	s.budget.limit = 1
	_, version, err := s.Txn(nil, nil, []Op{{Kind: OpDel, Key: []byte("a")}, {Kind: OpDel, Key: []byte("b")}})
	require.NoError(t, err)
	require.NotZero(t, version)
	require.Nil(t, s.Get([]byte("a")))
}

// A store that is full takes, with history, each write that it would take without.
func TestFullStoreOverwritesWithoutHistory(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	s.put(t, "key", "0")
	s.put(t, "other", "0")
	s.budget.limit = s.budget.used.Load()
	for i := 1; i < 5; i++ {
		s.put(t, "key", fmt.Sprint(i))
		_, err := s.MSet(pairsOf("key", fmt.Sprint(i), "other", fmt.Sprint(i)))
		require.NoError(t, err)
	}
	require.Equal(t, "4", text(s.Get([]byte("key"))))
	require.LessOrEqual(t, s.budget.used.Load(), s.budget.limit)
}

// So does one that is full of values, where giving up all history would make no room either.
func TestFullStoreShrinksValuesWithHistory(t *testing.T) {
	for _, size := range []int{100, 1000, 6000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := openTest(t, Options{History: 2, MaxMemory: 4 << 20}, fullHash)
			n := 0
			for ; ; n++ {
				if _, err := s.Set(fmt.Append(nil, "key", n), make([]byte, size), SetOptions{}); err != nil {
					require.ErrorIs(t, err, ErrOutOfMemory)
					break
				}
			}
			for _, now := range []int{size, size, size / 2, size / 4, 0} {
				for i := range n {
					s.put(t, fmt.Sprint("key", i), string(make([]byte, now)))
				}
				require.Less(t, s.budget.used.Load(), 2*s.budget.limit, "what goes beyond the limit is used again")
			}
		})
	}
}

// A store without a limit of its own tidies up as seldom as one whose own limit is what the replicas have room for.
func TestOverrunOfTheReplicasLimit(t *testing.T) {
	const limit = 4 << 20
	s := openTest(t, Options{}, fullHash)
	for i := range 2 * limit / 1000 {
		s.put(t, fmt.Sprint("key", i), string(make([]byte, 1000)))
	}
	s.LimitTo(limit)
	s.tidyOver()
	require.Equal(t, s.budget.used.Load()+limit/overShare, s.overrun.next.Load())
}

// Who deletes keys of a full store can set others: what was deleted is history, and that goes first.
func TestDeletedKeysMakeRoomWithHistory(t *testing.T) {
	for _, size := range []int{1000, 6000, 100_000, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := openTest(t, Options{History: 2, MaxMemory: 32 << 20}, fullHash)
			set := func(name string, i int) error {
				_, err := s.Set(fmt.Append(nil, name, i), make([]byte, size), SetOptions{})
				return err
			}
			n := 0
			for ; set("key", n) == nil; n++ {
			}
			some := max(1, n/20) // of many keys, so many that their history is worth looking for
			for i := range some {
				_, _, err := s.Del([][]byte{fmt.Append(nil, "key", i)})
				require.NoError(t, err)
			}
			for i := range max(1, some/2) {
				require.NoError(t, set("new", i), "%d of %d deleted", i, some)
			}
		})
	}
}

// Values that get smaller here and there take little more than the limit: what they free is brought together for them.
func TestShrinkingTakesLittleMore(t *testing.T) {
	for _, history := range []int{0, 2} {
		for _, size := range []int{100, 1000} {
			t.Run(fmt.Sprint(size, " bytes, history ", history), func(t *testing.T) {
				s := openTest(t, Options{History: history, MaxMemory: 8 << 20}, fullHash)
				n := 0
				for ; ; n++ {
					if _, err := s.Set(fmt.Append(nil, "key", n), make([]byte, size), SetOptions{}); err != nil {
						require.ErrorIs(t, err, ErrOutOfMemory)
						break
					}
				}
				most := int64(0)
				for _, now := range []int{size, size / 2, size / 4, 0} {
					for _, i := range rand.Perm(n) {
						s.put(t, fmt.Sprint("key", i), string(make([]byte, now)))
						most = max(most, s.budget.used.Load())
					}
				}
				t.Logf("%.2f of the limit", float64(most)/float64(s.budget.limit))
				require.Less(t, most, s.budget.limit/4*5)
			})
		}
	}
}

// What is given up for memory is counted; what falls out of a full history, or goes with its key, is not.
func TestEvictedVersionsAreCounted(t *testing.T) {
	s := openTest(t, Options{History: 4}, fullHash)
	for i := range 500 {
		for range 6 {
			s.put(t, fmt.Sprint("key", i), string(make([]byte, 1000)))
		}
	}
	require.Zero(t, s.Stats().Evicted)
	before := s.Stats().History
	s.budget.limit = s.budget.used.Load()
	s.put(t, "new", string(make([]byte, 1_000_000)))
	after := s.Stats()
	require.Positive(t, after.Evicted)
	require.Equal(t, before-after.Evicted, after.History)
}

// A write that no eviction could make room for does not cost the history.
func TestHopelessWriteKeepsHistory(t *testing.T) {
	s := openTest(t, Options{History: 2, MaxMemory: 1 << 20}, fullHash)
	s.put(t, "key", "0")
	s.put(t, "key", "1")
	_, err := s.Set([]byte("key"), make([]byte, 2<<20), SetOptions{})
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.Equal(t, []string{"1", "0"}, s.past("key"))
}

// A write that is refused memory never makes another one that fits be refused too.
func TestRefusedWriteDoesNotDisturbOthers(t *testing.T) {
	b := budget{limit: 1 << 20}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				assert.False(t, b.Take(2<<20, false))
			}
		}
	})
	for range 20_000 {
		require.True(t, b.Take(64, false))
		b.Give(64)
	}
	close(stop)
	wg.Wait()
}

// Out of memory changes nothing, and deletions always work.
func TestOutOfMemoryChangesNothing(t *testing.T) {
	for _, m := range masks {
		for _, keep := range []int{0, 2} {
			t.Run(fmt.Sprint(m.name, keep), func(t *testing.T) {
				s := openTest(t, Options{History: keep}, m.mask)
				s.budget.limit = s.budget.used.Load() + 20_000
				n := 0
				var err error
				for ; err == nil; n++ {
					_, err = s.Set(fmt.Append(nil, "key", n), make([]byte, 100), SetOptions{})
				}
				n--
				require.ErrorIs(t, err, ErrOutOfMemory)
				require.LessOrEqual(t, s.budget.used.Load(), s.budget.limit)
				before := s.Stats()
				require.EqualValues(t, n, before.Keys)
				large := string(make([]byte, 1000))
				_, err = s.Set([]byte("key0"), []byte(large), SetOptions{})
				require.ErrorIs(t, err, ErrOutOfMemory)
				_, err = s.MSet(pairsOf("key0", "small", "new", large))
				require.ErrorIs(t, err, ErrOutOfMemory)
				results, _, err := s.Txn(nil, nil, []Op{
					{Kind: OpGet, Key: []byte("key0")},
					{Kind: OpDel, Key: []byte("key0")},
					{Kind: OpSet, Key: []byte("new"), Value: []byte(large)},
				})
				require.ErrorIs(t, err, ErrOutOfMemory)
				require.Empty(t, results)
				require.Equal(t, before, s.Stats())
				require.NoError(t, s.Check())
				require.Nil(t, s.Get([]byte("new")))
				require.Equal(t, 100, s.Get([]byte("key0")).Len())

				// What shrinks is taken, above the limit too.
				s.budget.limit = 1
				s.put(t, "key1", "")
				_, err = s.MSet(pairsOf("key2", "", "key3", ""))
				if keep == 0 {
					require.NoError(t, err)
				}
				var keys [][]byte
				for i := range n {
					keys = append(keys, fmt.Append(nil, "key", i))
				}
				s.del(t, "key0")
				existed, _, err := s.Del(keys)
				require.NoError(t, err)
				require.Equal(t, n-1, existed)
				require.Zero(t, s.Stats().Keys)
			})
		}
	}
}

// History goes before a write is refused: the oldest first, of whichever key.
func TestOldestHistoryGoesFirst(t *testing.T) {
	s := openTest(t, Options{History: 8}, fullHash)
	value := strings.Repeat("v", 200)
	var versions []uint64
	for i := range 40 {
		versions = append(versions, s.put(t, fmt.Sprint("key", i%5), value))
	}
	kept := func() (kept []bool) {
		for i, v := range versions {
			kept = append(kept, s.GetVersion(fmt.Append(nil, "key", i%5), v) != nil)
		}
		return kept
	}
	require.NotContains(t, kept(), false)
	s.budget.limit = s.budget.used.Load()
	gone := 0
	for i := 0; s.Stats().History > 0; i++ {
		if _, err := s.Set(fmt.Append(nil, "new", i), []byte(value), SetOptions{}); err != nil {
			require.ErrorIs(t, err, ErrOutOfMemory)
			require.Zero(t, s.Stats().History, "a write was refused, and there was history")
		}
		left := kept()
		now := slices.Index(left, true)
		require.NotContains(t, left[now:], false, "a newer version went before an older one")
		require.GreaterOrEqual(t, now, gone)
		gone = now
	}
	require.Equal(t, 35, gone)
	var err error
	for i := 0; err == nil; i++ {
		_, err = s.Set(fmt.Append(nil, "more", i), []byte(value), SetOptions{})
	}
	require.ErrorIs(t, err, ErrOutOfMemory)
	for i := range 5 {
		require.NotNil(t, s.Get(fmt.Append(nil, "key", i)), "current versions stay")
	}
}

// Where history is little beside the keys, writes that are short of memory do not look for it: each would look at all
// keys for the one version that the last write has left. They take what their own keys have.
func TestScarceHistoryIsNotLookedFor(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	c := s.Store.Session()
	defer c.Close()
	const n = alwaysSought + 1
	key := func(i int) []byte { return fmt.Append(nil, "key", i) }
	for i := range n {
		_, err := c.Set(key(i), []byte("value"), SetOptions{})
		require.NoError(t, err)
	}
	require.True(t, s.scarce(), "there is none")
	for i := 0; s.scarce(); i++ {
		require.Less(t, i, n, "one version of each key is enough to be looked for")
		s.put(t, string(key(i)), "other")
	}
	_, _, err := c.Del([][]byte{key(n - 1)}) // few keys now
	require.NoError(t, err)
	require.False(t, s.scarce())
	s.put(t, string(key(n-1)), "value")

	// Fill it up, and write on.
	s.budget.limit = s.budget.used.Load()
	full := n
	for ; err == nil; full++ {
		_, err = c.Set(key(full), []byte("value"), SetOptions{})
	}
	looked, dropped := 0, s.Stats().Evicted
	for i := range full - 1 {
		_, err := c.Set(key(i), []byte("third"), SetOptions{})
		require.NoError(t, err, "what gets no longer always fits")
		if now := s.Stats().Evicted; now != dropped {
			looked, dropped = looked+1, now
		}
	}
	require.Less(t, looked, full/25, "so many of %d writes looked for history", full)
}

// Values that are refused for want of memory are not copied first: where clients go on sending large ones to a full store,
// the copies would be most of what the process has beyond its limit. Those that take no more than is there are set.
func TestRefusedValuesAreNotCopied(t *testing.T) {
	const size = 1 << 20
	s := openTest(t, Options{MaxMemory: 12 << 20}, fullHash)
	value := make([]byte, size)
	for i := 0; ; i++ {
		if _, err := s.Set(fmt.Append(nil, "key", i), value, SetOptions{}); err != nil {
			require.ErrorIs(t, err, ErrOutOfMemory)
			break
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_, err := s.Set([]byte("new"), value, SetOptions{})
		require.ErrorIs(t, err, ErrOutOfMemory)
		_, err = s.MSet([]Pair{{[]byte("new"), value}, {[]byte("key0"), value}, {[]byte("new"), value}})
		require.ErrorIs(t, err, ErrOutOfMemory)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size), "two hundred copies were made")

	_, err := s.Set([]byte("new"), value, SetOptions{Conditional: true, IfVersion: 7})
	require.ErrorAs(t, err, new(*ConflictError), "a condition is looked at before memory")
	_, err = s.Set([]byte("key0"), value, SetOptions{})
	require.NoError(t, err)
	_, err = s.MSet([]Pair{{[]byte("key0"), value}, {[]byte("key1"), value[1:]}})
	require.NoError(t, err)
	s.del(t, "key2")
	s.del(t, "key3")
	s.tidy(true)
	_, err = s.MSet([]Pair{{[]byte("new"), value}, {[]byte("new"), value}})
	require.NoError(t, err)
}

// Of equal keys of an MSet the last needs memory, and no other: a full store takes what it would take without them.
func TestMSetNeedsMemoryForTheLastOfEqualKeys(t *testing.T) {
	const size = 1 << 20
	value := bytes.Repeat([]byte("v"), size)
	tests := []struct {
		name string
		sets []Pair
		err  error
	}{
		{"a new key", []Pair{{[]byte("new"), value}, {[]byte("new"), value[:size-1]}}, nil},
		{"a new key, many times", slices.Repeat([]Pair{{[]byte("new"), value}}, 20), nil},
		{"a longer one first", []Pair{{[]byte("key1"), bytes.Repeat(value, 3)}, {[]byte("key1"), value[1:]}}, nil},
		{"others besides", []Pair{{[]byte("new"), value}, {[]byte("small"), []byte("1")}, {[]byte("new"), []byte("2")}}, nil},
		{"the last is too long", []Pair{{[]byte("new"), value}, {[]byte("new"), bytes.Repeat(value, 3)}}, ErrOutOfMemory},
		{"two new ones", []Pair{{[]byte("new"), value}, {[]byte("new"), value}, {[]byte("new2"), value}}, ErrOutOfMemory},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t, Options{MaxMemory: 12 << 20}, fullHash)
			for i := 0; ; i++ {
				if _, err := s.Set(fmt.Append(nil, "key", i), value, SetOptions{}); err != nil {
					require.ErrorIs(t, err, ErrOutOfMemory)
					break
				}
			}
			s.del(t, "key0")
			s.tidy(true)
			before := s.Stats()
			_, err := s.MSet(test.sets)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				require.Nil(t, s.Get([]byte("new")))
				require.Equal(t, before.SetOps, s.Stats().SetOps)
				return
			}
			require.NoError(t, err)
			for key, want := range lastOf(test.sets) {
				require.Equal(t, want, string(s.Get([]byte(key)).Value()))
			}
			require.Equal(t, before.SetOps+uint64(len(test.sets)), s.Stats().SetOps)
			require.NoError(t, s.Check())
		})
	}
}

func lastOf(pairs []Pair) map[string]string {
	last := map[string]string{}
	for _, p := range pairs {
		last[string(p.Key)] = string(p.Value)
	}
	return last
}
