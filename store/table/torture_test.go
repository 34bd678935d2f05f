package table

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everything at once, with what is freed overwritten: writers of one key and of groups, deletions, evictions, readers
// of one key and of many that look at what they found only at the end of their pin, which may be long, large values
// that are kept beyond it, scans, growth, splits, merges, compaction; with earlier versions of each key, which are
// looked at and forgotten, and without. Every value says whose it is and carries a checksum; a group's values carry one
// stamp, so a reader of the group sees one instant or the test fails; stamps of a key never go back; some keys are
// always there. The race detector sees memory that is used again too early as a race. With KV_SOAK=1 it takes forty
// times as long.
func TestTorture(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		if c.mask == 0 {
			c.mask = 1<<63 | 1<<(64-shardBits) - 1 // two shards, which split; the other hashes overflow as well
		}
		for _, keeps := range []bool{false, true} {
			t.Run(fmt.Sprintf("keeps %v", keeps), func(t *testing.T) { torture(t, c.openKeeping(t, 256<<20, keeps)) })
		}
	})
}

const (
	tortureKeys   = 400
	tortureGroups = 20
	groupSize     = 5
	waveLength    = 750
)

func groupKey(g, i int) []byte { return key(1_000_000 + g*100 + i) }

// inGroup are the keys of groups.
var inGroup = func() map[string]bool {
	all := make(map[string]bool)
	for g := range tortureGroups {
		for i := range groupSize {
			all[string(groupKey(g, i))] = true
		}
	}
	return all
}()

// always are keys that are there throughout, every eighth of those that are written singly.
var always = func() map[string]bool {
	all := make(map[string]bool)
	for i := 0; i < tortureKeys*3; i += 8 {
		all[string(key(i))] = true
	}
	return all
}()

func torture(t *testing.T, table *Table) {
	writes := 15_000
	if race {
		writes /= 5
	}
	if os.Getenv("KV_SOAK") != "" {
		writes *= 40
	}
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

	first := &writer{t: table, versions: &versions, keep: 3}
	for k := range always {
		first.set(Spec{Key: []byte(k), Value: sealed([]byte(k), 16, stamps.Add(1))})
	}
	for id := range 3 {
		writers.Go(func() {
			w := &writer{t: table, versions: &versions, keep: 3}
			rnd := rand.New(rand.NewPCG(uint64(id), 1))
			// Keys are this writer's alone, so that the stamps of each rise.
			var wave [][]byte
			for n := range writes {
				if done.Load() {
					return
				}
				k := key(rnd.IntN(tortureKeys)*3 + id)
				switch rnd.IntN(8) {
				case 0, 1:
					if !always[string(k)] {
						w.del(k)
					}
				case 2:
					w.set(Spec{Key: k, Value: sealed(k, size(rnd), stamps.Add(1)), Expiry: 1 << 50})
				default:
					w.set(Spec{Key: k, Value: sealed(k, size(rnd), stamps.Add(1))})
				}
				switch { // many keys come and go, so that segments grow and are merged
				case n/waveLength%2 == 0:
					k := key(10_000 + rnd.IntN(20_000)*3 + id)
					w.set(Spec{Key: k, Value: sealed(k, 16, stamps.Add(1))})
					wave = append(wave, k)
				case len(wave) > 0:
					last := wave[len(wave)-1]
					wave = wave[:len(wave)-1]
					w.del(last)
					w.forget(last, 10)
				}
			}
		})
	}
	writers.Go(func() {
		w := &writer{t: table, versions: &versions, keep: 3}
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
				s := Spec{Key: k, Deleted: gone}
				if !gone {
					s.Value = sealed(k, size(rnd), stamp)
				}
				specs = append(specs, s)
			}
			w.many(specs, rnd.IntN(10) > 0)
		}
	})

	for id := range 3 {
		readers.Go(func() {
			r := table.Reader("reader")
			r.Other = asFound
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
				if rnd.IntN(4) == 0 {
					r.Seen()
					r.Warm(keys)
					if r.Seen() != 0 {
						fail("what was warmed was seen")
					}
				}
				switch rnd.IntN(3) {
				case 0:
					r.GetMany(found, keys)
				case 1:
					for i, k := range keys {
						found[i] = r.Get(k)
					}
				case 2:
					for i, k := range keys {
						found[i] = r.Live(k)
					}
				}
				for long := rnd.IntN(50) == 0; long && rnd.IntN(200) > 0; {
					runtime.Gosched()
				}
				kept, seen := -1, r.Seen()
				var large []byte
				for i, e := range found {
					if e.Exists() && e.Version() > seen {
						fail("a version was found, and not seen")
					}
					if !e.Exists() || e.Deleted() {
						if always[string(keys[i])] {
							fail("a key that is there was not found")
						}
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
					if e.Exists() && !e.Deleted() {
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
					if _, ok := unsealed(e.Key(), e.Value()); !ok && !e.Deleted() {
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
			for k := range always {
				if !seen[k] {
					fail("a scan did not meet a key that is there")
				}
			}
		}
	})
	readers.Go(func() { // evictions: a fraction of what is written
		w := &writer{t: table, versions: &versions, keep: 3}
		for evicted := uint64(0); !done.Load(); {
			for i := range Shards {
				sh := table.Shard(i)
				var victims [][]byte
				sh.Lock()
				sh.Victims(func(e Entry) bool {
					if !e.Deleted() && !inGroup[string(e.Key())] && !always[string(e.Key())] {
						victims = append(victims, slices.Clone(e.Key()))
					}
					return len(victims) < 4
				})
				sh.Unlock()
				for _, k := range victims {
					w.del(k)
				}
				for evicted += uint64(len(victims)); evicted > versions.Load()/20 && !done.Load(); {
					runtime.Gosched()
				}
			}
		}
	})
	readers.Go(func() { // earlier versions, one key after the other
		rnd := rand.New(rand.NewPCG(7, 1))
		forgets := &writer{t: table}
		for table.keeps && !done.Load() {
			k := key(rnd.IntN(tortureKeys * 3))
			if rnd.IntN(4) == 0 {
				k = groupKey(rnd.IntN(tortureGroups), rnd.IntN(groupSize))
			}
			h := table.Hash(k)
			sh := table.Shard(ShardOf(h))
			sh.Lock()
			sh.Warm([]uint64{h})
			p := sh.Find(h, k)
			newer := uint64(MaxVersion)
			check := func(e Entry) bool {
				if _, ok := unsealed(k, e.Value()); !ok && !e.Deleted() || e.Version() >= newer {
					fail("an earlier version is not what was written, or not in its place")
				}
				newer = e.Version()
				return true
			}
			if p.Entry().Exists() {
				check(p.Entry())
			}
			sh.Revisions(&p, check)
			sh.Unlock()
			if rnd.IntN(4) == 0 {
				forgets.forget(k, rnd.IntN(3))
			}
			runtime.Gosched()
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
