package table

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table that grows to many segments and shrinks again beside readers: at every moment they find, whichever way they
// read, the keys that are there throughout, so what a root or a directory shows is complete, and what it does not show
// any more says so.
func TestReadersBesideGrowth(t *testing.T) {
	table := config{1<<(64-shardBits) - 1, race}.open(t, 256<<20) // one shard, whose directory gets long
	const always, most, many = 2, 30_000, 100
	rounds := 10
	if race {
		rounds = 1
	}
	w := newWriter(table)
	for i := range always {
		w.set(Spec{Key: key(i)})
	}
	depth := func() uint8 { return table.directory(table.Shard(0).root().Load()).depth() }
	var done atomic.Bool
	var missed [4]atomic.Uint64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			r := table.Reader("reader")
			defer r.Close()
			keys, found := make([][]byte, many), make([]Entry, many, maxLines*fullAt)
			for i := range keys {
				keys[i] = key(i % always)
			}
			for n := 0; !done.Load(); n++ {
				r.Pin()
				for _, k := range keys {
					if !r.Get(k).Exists() {
						missed[0].Add(1)
					}
				}
				r.GetMany(found, keys)
				for _, e := range found {
					if !e.Exists() {
						missed[1].Add(1)
					}
				}
				k := keys[n%many]
				found, _ = r.Range(found[:0], table.Hash(k))
				if !slices.ContainsFunc(found, func(e Entry) bool { return e.is(k) }) {
					missed[2].Add(1)
				}
				found = found[:many]
				r.Unpin()
			}
		})
	}
	readers.Go(func() { // the last word of a directory is stored last
		const poisoned = 0xdededededededede
		r := table.Reader("reader of directories")
		defer r.Close()
		for !done.Load() {
			r.Pin()
			for range 1000 {
				d := table.directory(table.Shard(0).root().Load())
				if w := d.word(1<<d.depth() - 1).Load(); w == 0 || w == poisoned {
					missed[3].Add(1)
				}
			}
			r.Unpin()
		}
	})
	for range rounds {
		for i := always; i < most; i++ {
			w.set(Spec{Key: key(i)})
		}
		require.Greater(t, depth(), uint8(5))
		for i := always; i < most; i++ {
			w.del(key(i))
		}
		for depth() > 0 {
			table.Compact(1 << 30)
		}
	}
	done.Store(true)
	readers.Wait()
	for i := range missed {
		require.Zero(t, missed[i].Load(), "%d", i)
	}
	require.NoError(t, table.Check(nil))
}

// A reader that was stopped with a directory before it goes on with that one, however the table has grown, shrunk or
// been moved meanwhile: it finds each key's line, and there the key or that it has to look again.
func TestStoppedReaderOfDirectories(t *testing.T) {
	table := config{^uint64(0), race}.open(t, 256<<20)
	w := newWriter(table)
	r := table.Reader("stopped")
	defer r.Close()
	const few, n = 200, 60_000
	there := func(i int) bool { return i%100 == 0 }
	var before [Shards]directory
	stop := func() {
		r.Pin()
		for i := range before {
			before[i] = table.directory(table.Shard(i).root().Load())
		}
	}
	// resume returns how many directories are longer, shorter, or just another.
	resume := func(until int) (longer, shorter, moved int) {
		drain(table)
		for i := range until {
			h := table.Hash(key(i))
			d := before[ShardOf(h)]
			e, _, _, again := table.findIn(lineIn(d.word(d.index(h)).Load(), table, h), h, key(i))
			require.True(t, again || e.Exists() || !there(i), "%d", i)
		}
		for i, d := range before {
			switch now := table.directory(table.Shard(i).root().Load()); {
			case now.depth() > d.depth():
				longer++
			case now.depth() < d.depth():
				shorter++
			case now.ref != d.ref:
				moved++
			}
		}
		r.Unpin()
		drain(table)
		return longer, shorter, moved
	}
	for i := range few {
		w.set(Spec{Key: key(i), Value: make([]byte, 100)})
	}
	stop()
	for i := few; i < n; i++ {
		w.set(Spec{Key: key(i), Value: make([]byte, 100)})
	}
	longer, _, _ := resume(few)
	require.Equal(t, Shards, longer)

	for i := range n {
		if !there(i) {
			w.del(key(i))
		}
	}
	shorter, moved := 0, 0
	for range 10 {
		stop()
		table.Compact(1 << 30)
		_, s, m := resume(n)
		shorter, moved = shorter+s, moved+m
	}
	require.Positive(t, shorter)
	require.Positive(t, moved)
	require.NoError(t, table.Check(nil))
}

// What is to leave a chunk leaves it, of each kind, so that memory that is thinly used is given back.
func TestCompactMovesEverything(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		table := config{^uint64(0), race}.openKeeping(t, 256<<20, keeps)
		w := newWriter(table)
		w.keep = 10
		const n = 20_000
		for range 5 {
			for i := range n {
				w.set(Spec{Key: key(i), Value: make([]byte, 100)})
			}
		}
		for i := range n {
			if i%20 > 0 {
				w.del(key(i))
				w.forget(key(i), 10)
			}
		}
		for range 5 {
			table.Compact(1 << 30)
			table.Scavenge(false)
		}
		f := table.Figures().Arena
		require.LessOrEqual(t, f.Resident, 2*f.Chunk, "%d bytes live", f.Live)
		require.NoError(t, table.Check(nil))
	}
}
