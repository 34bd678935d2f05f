package table

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"kv/store/arena"
)

// A reader that was stopped after it had found the line of its key looks there when the segment has grown, and the key
// was written since. It has to look again (I6), for a key that is there, one that was deleted and one that is new.
func TestStoppedReader(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		if c.mask == 0 {
			return // it has one line, and never grows
		}
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("stopped")
		defer r.Close()
		const n = 40
		for i := range n {
			w.set(Spec{Key: key(i)})
		}
		r.Pin()
		defer r.Unpin()
		var lines [2 * n]line
		for i := range lines {
			lines[i] = table.line(table.Hash(key(i)))
		}
		for i := 1000; i < 4000; i++ {
			w.set(Spec{Key: key(i)})
		}
		for i := range n / 2 {
			w.del(key(i))
		}
		for i, l := range lines {
			h := table.Hash(key(i))
			if table.line(h) == l {
				continue
			}
			_, _, _, moved := table.findIn(l, h, key(i))
			require.True(t, moved, "%d", i)
		}
	})
}

// Keys of one line change places all the time: each is deleted, and set again where another was. A scan meets no key
// twice, and each that stays where it is once.
func TestRangeMeetsNoKeyTwice(t *testing.T) {
	table := config{0, race}.open(t, 64<<20)
	w := newWriter(table)
	const n, stay = 100, 1000
	for i := range n {
		w.set(Spec{Key: key(i)})
	}
	for i := range n {
		w.set(Spec{Key: key(stay + i)})
	}
	var done atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; !done.Load(); i++ {
			a, b := key(i%n), key((i+n/2)%n)
			w.del(a)
			w.del(b)
			w.set(Spec{Key: b})
			w.set(Spec{Key: a})
		}
	})
	defer writer.Wait()
	defer done.Store(true)
	r := table.Reader("scan")
	defer r.Close()
	rounds := 8000
	if race {
		rounds /= 8
	}
	var all []Entry
	for range rounds {
		seen := make(map[string]bool, 2*n)
		r.Pin()
		all, _ = r.Range(all[:0], 0)
		for _, e := range all {
			if k := string(e.Key()); seen[k] {
				r.Unpin()
				t.Fatalf("%q is met twice", k)
			} else {
				seen[k] = true
			}
		}
		r.Unpin()
		for i := range n {
			require.True(t, seen[string(key(stay+i))], "%d", i)
		}
	}
}

// One key that is set and deleted in turn: who finds it absent after having seen a version has to know of a later
// deletion (I5), or would tell what a crash could undo.
func TestAbsentKeyKnowsItsDeletion(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		rounds := 20_000
		if race {
			rounds /= 4
		}
		k := []byte("key")
		var done atomic.Bool
		var late atomic.Uint64
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				r := table.Reader("reader")
				defer r.Close()
				for last := uint64(0); !done.Load(); {
					r.Pin()
					for range 64 {
						e := r.Get(k)
						seen := r.Seen()
						if e.Exists() {
							last = max(last, e.Version())
						} else if seen <= last && last > 0 {
							late.Add(1)
						}
					}
					r.Unpin()
				}
			})
		}
		for i := range rounds {
			w.set(Spec{Key: k})
			if i%3 == 0 {
				w.many([]Spec{{Key: k, Deleted: true}, {Key: []byte("other")}}, true)
			} else {
				w.del(k)
			}
		}
		done.Store(true)
		readers.Wait()
		require.Zero(t, late.Load())
	})
}

// A reader loads a reference once (I6): what it compares, what it returns and what it has seen are of one load. Here the
// reference of a key that is there becomes refMoved, as when its segment grows, and comes back, or leads to a later
// entry: so each lookup finds one of them and has seen its version, or finds that it has to look again, and never
// that the key is absent, or another object.
func TestReferenceIsReadOnce(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		k := []byte("key of 16 bytes.")
		w.set(Spec{Key: k, Value: []byte("value")})
		h := table.Hash(k)
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		p := sh.Find(h, k)
		var later [2]arena.Ref
		for i, expiry := range []uint64{0, 1 << 50} { // of both kinds
			later[i] = w.make(sh, Spec{Key: k, Value: []byte("later"), Expiry: expiry}).ref
			setVersion(table.at(later[i]), p.entry.Version()+1+uint64(i))
		}
		sh.Unlock()
		at := p.in.ref(p.i)
		var done atomic.Bool
		var writer sync.WaitGroup
		writer.Go(func() {
			for !done.Load() {
				for range 50 {
					at.Store(refMoved)
					at.Store(uint32(p.ref))
					at.Store(uint32(later[0]))
					at.Store(uint32(later[1]))
				}
				at.Store(refMoved)
				time.Sleep(time.Microsecond) // so that it comes back in the midst of a lookup, if they have but one processor
				at.Store(uint32(p.ref))
				time.Sleep(time.Microsecond)
			}
		})
		defer writer.Wait()
		defer done.Store(true)
		r := table.Reader("reader")
		r.Other = asFound
		defer r.Close()
		r.Pin()
		defer r.Unpin()
		right := func(e Entry) bool {
			return e.p() == p.entry.p() || e.p() == table.at(later[0]) || e.p() == table.at(later[1])
		}
		keys, found, all := [][]byte{k, k}, make([]Entry, 2), []Entry(nil)
		for name, way := range map[string]struct {
			lookups int
			right   func() bool
		}{
			"find": {5_000_000, func() bool {
				e, seen, _, moved := table.findIn(p.first, h, k)
				return moved || right(e) && seen == e.Version()
			}},
			"get": {5_000_000, func() bool {
				e := r.Get(k)
				return right(e) && r.Seen() == e.Version()
			}},
			"live": {5_000_000, func() bool {
				e := r.Live(k)
				return right(e) && r.Seen() == e.Version()
			}},
			"get many": {2_000_000, func() bool {
				r.GetMany(found, keys)
				return right(found[0]) && right(found[1]) && r.Seen() == max(found[0].Version(), found[1].Version())
			}},
			"range": {500_000, func() bool {
				all, _ = r.Range(all[:0], h)
				return len(all) == 1 && right(all[0]) && r.Seen() == all[0].Version()
			}},
		} {
			wrong := 0
			if race {
				way.lookups /= 5
			}
			for range way.lookups {
				if !way.right() {
					wrong++
				}
			}
			require.Zero(t, wrong, name)
		}
	})
}

// The version of a deletion is stored before the removal (I5). Here both go to the same word, so that what is left
// there tells which was the later one.
func TestDeletionIsToldBeforeRemoval(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		newWriter(table).set(Spec{Key: []byte("key")})
		h := table.Hash([]byte("key"))
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		defer sh.Unlock()
		p := sh.Find(h, []byte("key"))
		p.in, p.i = p.first, -lineRefs/4
		require.Equal(t, unsafe.Pointer(p.first.deleted()), unsafe.Pointer(p.in.ref(p.i)))
		sh.Delete(&p, 77)
		require.Zero(t, p.first.removal(), "the removal was stored before its version")
	})
}

// When a deletion that was kept is forgotten, readers wait for its version as before, and that is stored before the
// entry goes, too (I5).
func TestForgottenDeletionIsToldBeforeRemoval(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.openKeeping(t, 64<<20, true)
		w := newWriter(table)
		for _, k := range []string{"key", "other"} {
			w.set(Spec{Key: []byte(k)})
			require.True(t, w.del([]byte(k)))
		}
		w.forget([]byte("other"), 1)
		r := table.Reader("reader")
		defer r.Close()
		require.False(t, r.get([]byte("other")).Exists())
		require.Equal(t, w.versions.Load(), r.Seen())

		h := table.Hash([]byte("key"))
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		defer sh.Unlock()
		p := sh.Find(h, []byte("key"))
		require.True(t, p.Entry().Deleted())
		p.in, p.i = p.first, -lineRefs/4
		_, gone := sh.Forget(&p, 1, func(Entry, uint64) bool { return true })
		require.True(t, gone)
		require.Zero(t, p.first.removal(), "the removal was stored before its version")
	})
}

// staged returns a transaction that sets the key "set" to a value and deletes "deleted", up to Commit, and where the
// two are. All shards are locked until the test ends.
func staged(t *testing.T, table *Table, value []byte) (x Txn, set, deleted Place) {
	w := newWriter(table)
	w.set(Spec{Key: []byte("set"), Value: []byte("old")})
	w.set(Spec{Key: []byte("deleted"), Value: []byte("old")})
	table.LockAll(^ShardSet(0))
	t.Cleanup(func() { table.UnlockAll(^ShardSet(0)) })
	find := func(k string) Place {
		h := table.Hash([]byte(k))
		return table.Shard(ShardOf(h)).Find(h, []byte(k))
	}
	require.True(t, x.Begin(table.Shard(0), false))
	set = find("set")
	require.True(t, x.Stage(&set, w.make(set.shard, Spec{Key: []byte("set"), Value: value}), 0, false))
	deleted = find("deleted")
	require.True(t, x.Stage(&deleted, Fresh{}, 0, false))
	return x, find("set"), find("deleted")
}

// A transaction is committed when all that its switches lead to is complete (I2). Here it is stopped before: the number
// of a large value that there is none of makes it panic. Nothing may be seen of it then.
func TestTxnStoppedBeforeItsInstant(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		x, set, _ := staged(t, table, make([]byte, 10_000))
		e := set.Entry()
		*u32(e.p(), longFields) = 1 << 30
		require.EqualValues(t, 1<<30, e.large())
		require.Panics(t, func() { x.Commit(77, 0) })
		require.Zero(t, (*txn)(table.at(x.ref)).committed.Load())
		r := table.Reader("reader")
		defer r.Close()
		for _, k := range []string{"set", "deleted"} {
			require.Equal(t, "old", string(r.get([]byte(k)).Value()))
		}
	})
}

// From the instant on each key tells the transaction's version, of a deletion as well, though its place has the switch
// still (I5). Here the transaction is stopped right behind the instant: it panics because its first switch is gone.
func TestTxnStoppedBehindItsInstant(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		x, set, deleted := staged(t, table, []byte("new"))
		at := set.in.ref(set.i)
		was := at.Load()
		at.Store(0)
		require.Panics(t, func() { x.Commit(77, 0) })
		at.Store(was)
		require.Zero(t, deleted.first.removal())
		r := table.Reader("reader")
		defer r.Close()
		require.Equal(t, "new", string(r.get([]byte("set")).Value()))
		require.EqualValues(t, 77, r.Seen())
		require.False(t, r.get([]byte("deleted")).Exists())
		require.EqualValues(t, 77, r.Seen())
	})
}

// A transaction's deletion, too, stores its version before the removal (I5): here it panics between them, because its
// switch is gone.
func TestTxnTellsDeletionBeforeRemoval(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		x, _, deleted := staged(t, table, []byte("new"))
		deleted.in.ref(deleted.i).Store(0)
		require.Panics(t, func() { x.Commit(77, 0) })
		require.EqualValues(t, 77, deleted.first.removal())
	})
}

// What a transaction staged for a key, and replaces or takes back, waits like what was published: its writer may have
// shown it to a reader that is pinned.
func TestStagedEntryWaits(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		for _, n := range []int{20, 10_000} {
			for name, again := range map[string]func(x *Txn, p *Place){
				"staged again": func(x *Txn, p *Place) {
					f := newWriter(x.table).make(p.shard, Spec{Key: []byte("set"), Value: []byte("newer")})
					require.True(t, x.Stage(p, f, 0, false))
				},
				"reverted": func(x *Txn, p *Place) { x.Revert(p) },
			} {
				table := c.open(t, 64<<20)
				r := table.Reader("reader")
				value := sealed([]byte("set"), n, 5)
				x, p, _ := staged(t, table, value)
				r.Pin()
				e := p.Entry()
				header := e.header()
				again(&x, &p)
				x.Commit(77, 0)
				for i := range Shards {
					table.Shard(i).Drain()
				}
				require.Equal(t, header, e.header(), name)
				require.Equal(t, value, e.Value(), name)
				r.Unpin()
				r.Close()
				require.NoError(t, table.Check(nil))
			}
		}
	})
}

// Many keys that are read side by side are read in their order, those among them too that take the long way: who finds
// a write of one key finds the writes before it of the keys behind. Here the writes fall between the two halves of the
// lookups.
func TestManyAreReadInOrder(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		value := func(e Entry) string {
			if !e.Exists() {
				return ""
			}
			return string(e.Value())
		}
		for i := range 12 {
			w.set(Spec{Key: key(i), Value: []byte("old")})
		}
		r := table.Reader("reader")
		defer r.Close()
		for i := range 13 { // the last is new
			for j := range 12 {
				if i == j {
					continue
				}
				keys := [][]byte{key(i), key(j)}
				w.set(Spec{Key: keys[1], Value: []byte("old")})
				if w.del(keys[0]); i%2 == 0 && i < 12 {
					w.set(Spec{Key: keys[0], Value: []byte("old"), Expiry: 1 << 50})
				}
				var b lookups
				var got [2]Entry
				r.Pin()
				b.begin(table, keys)
				w.set(Spec{Key: keys[1], Value: []byte("new")})
				w.set(Spec{Key: keys[0], Value: []byte("new")})
				b.end(r, got[:], keys)
				if value(got[0]) == "new" {
					require.Equal(t, "new", value(got[1]), "%d, %d", i, j)
				}
				r.Unpin()
			}
		}
	})
}
