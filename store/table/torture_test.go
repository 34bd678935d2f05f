package table

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everything at once, with what is freed overwritten: writers of one key and of groups, deletions, readers of one key
// and of many that look at what they found only at the end of their pin, large values that are kept beyond it, scans,
// growth, compaction. Every value says whose it is and carries a checksum; a group's values carry one stamp, so a
// reader of the group sees one instant or the test fails; stamps of a key never go back. The race detector sees memory
// that is used again too early as a race.
func TestTorture(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		if c.mask == 0 {
			return // one lock for all of it; the other hashes overflow as well
		}
		torture(t, c, 30_000)
	})
}

const (
	tortureKeys   = 400
	tortureGroups = 20
	groupSize     = 5
)

func groupKey(g, i int) []byte { return key(1_000_000 + g*100 + i) }

func torture(t *testing.T, c config, writes int) {
	if race {
		writes /= 10
	}
	table := c.open(t, 1<<30)
	var versions, stamps atomic.Uint64
	size := func(rnd *rand.Rand) int {
		if rnd.IntN(50) == 0 {
			return mostInline + rnd.IntN(3000)
		}
		return 16 + rnd.IntN(300)
	}

	var writers, readers sync.WaitGroup
	var done atomic.Bool
	var bad atomic.Pointer[string]
	fail := func(what string) {
		bad.CompareAndSwap(nil, &what)
		done.Store(true)
	}

	for id := range 3 {
		writers.Go(func() {
			w := &writer{t: table, versions: &versions}
			rnd := rand.New(rand.NewPCG(uint64(id), 1))
			// Keys are this writer's alone, so that the stamps of each rise.
			for range writes {
				if done.Load() {
					return
				}
				k := key(rnd.IntN(tortureKeys)*3 + id)
				if rnd.IntN(4) == 0 {
					w.del(k)
				} else {
					w.set(Spec{Key: k, Value: sealed(k, size(rnd), stamps.Add(1))})
				}
				if rnd.IntN(20) == 0 { // many keys come and go, so that segments grow
					n := key(10_000 + rnd.IntN(20_000)*3 + id)
					w.set(Spec{Key: n, Value: sealed(n, 16, stamps.Add(1))})
				}
			}
		})
	}
	writers.Go(func() {
		w := &writer{t: table, versions: &versions}
		rnd := rand.New(rand.NewPCG(9, 1))
		for range writes / 4 {
			if done.Load() {
				return
			}
			g := rnd.IntN(tortureGroups)
			stamp := stamps.Add(1)
			var specs []Spec
			gone := rnd.IntN(5) == 0
			for i := range groupSize {
				k := groupKey(g, i)
				specs = append(specs, Spec{Key: k, Value: sealed(k, size(rnd), stamp), Deleted: gone})
			}
			w.many(specs, rnd.IntN(10) > 0)
		}
	})

	for id := range 3 {
		readers.Go(func() {
			r := table.Reader("reader")
			defer r.Close()
			rnd := rand.New(rand.NewPCG(uint64(id), 2))
			last := make(map[string]uint64)
			for !done.Load() {
				r.Pin()
				keys := make([][]byte, 1+rnd.IntN(32))
				found := make([]Entry, len(keys))
				for i := range keys {
					keys[i] = key(rnd.IntN(tortureKeys * 3))
				}
				if rnd.IntN(2) == 0 {
					r.GetMany(found, keys)
				} else {
					for i, k := range keys {
						found[i] = r.Get(k)
					}
				}
				kept := -1
				var large []byte
				for i, e := range found {
					if !e.Exists() {
						continue
					}
					stamp, ok := unsealed(keys[i], e.Value())
					if !ok {
						fail("a value is not what was written")
					}
					k := string(keys[i])
					if stamp < last[k] {
						fail("a key went back in time")
					}
					last[k] = stamp
					if v, is := e.Large(); is {
						kept, large = i, v
					}
				}
				r.Unpin()
				if kept >= 0 {
					if _, ok := unsealed(keys[kept], large); !ok {
						fail("a large value that was kept changed")
					}
				}
			}
		})
	}
	for id := range 2 {
		readers.Go(func() {
			r := table.Reader("reader of groups")
			defer r.Close()
			rnd := rand.New(rand.NewPCG(uint64(id), 3))
			var last [tortureGroups]uint64
			for !done.Load() {
				g := rnd.IntN(tortureGroups)
				var keys [groupSize][]byte
				for i := range keys {
					keys[i] = groupKey(g, i)
				}
				var found [groupSize]Entry
				r.Pin()
				r.Snapshot(found[:], keys[:], nil)
				var first uint64
				for i, e := range found {
					var stamp uint64
					if e.Exists() {
						var ok bool
						if stamp, ok = unsealed(keys[i], e.Value()); !ok {
							fail("a value of a group is not what was written")
						}
					}
					if i == 0 {
						first = stamp
					} else if stamp != first {
						fail("a group was seen in part")
					}
				}
				r.Unpin()
				if first != 0 && first < last[g] {
					fail("a group went back in time")
				}
				last[g] = max(last[g], first)
			}
		})
	}
	readers.Go(func() { // scans
		r := table.Reader("scan")
		defer r.Close()
		for !done.Load() {
			seen := make(map[string]bool)
			var all []Entry
			for h := uint64(0); ; {
				r.Pin()
				var lastHash uint64
				all, lastHash = r.Range(all[:0], h)
				for _, e := range all {
					if _, ok := unsealed(e.Key(), e.Value()); !ok {
						fail("a scanned value is not what was written")
					}
					if seen[string(e.Key())] {
						fail("a scan met a key twice")
					}
					seen[string(e.Key())] = true
				}
				r.Unpin()
				if lastHash == ^uint64(0) {
					break
				}
				h = lastHash + 1
			}
		}
	})
	readers.Go(func() {
		for !done.Load() {
			table.Compact(1 << 20)
			table.arena.Scavenge(true)
			table.Figures()
		}
	})
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if what := bad.Load(); what != nil {
		require.Fail(t, *what)
	}
	require.NoError(t, table.Check(nil))
	drain(table)
	require.Zero(t, table.Figures().Limbo)
	require.NoError(t, table.Check(nil))
}
