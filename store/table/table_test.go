package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"kv/store/arena"
)

func TestLayout(t *testing.T) {
	require.EqualValues(t, lineSize, lineRefs+4*places)
	require.EqualValues(t, 24, unsafe.Sizeof(switched{}))
	require.EqualValues(t, 16, unsafe.Sizeof(txn{}))
	plain := Spec{Key: make([]byte, 16), Value: make([]byte, 32)}
	require.Equal(t, 60, plain.size(), "a line with a key of 16 bytes and a value of 32")
}

func TestEntry(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		for _, klen := range []int{0, 1, 7, 8, 9, 15, 16, 17, 242, 243, 244, 245, 254, 255, 256, 257, 1024, 5000} {
			for _, vlen := range []int{0, 1, 32, mostInline, mostInline + 1, 100_000} {
				for _, expiry := range []uint64{0, 1, 1 << 62} {
					s := Spec{Key: bytes.Repeat([]byte{byte(klen)}, klen), Value: bytes.Repeat([]byte{'v'}, vlen), Expiry: expiry}
					v := w.set(s)
					r.Pin()
					e := r.Get(s.Key)
					require.True(t, e.Exists())
					require.Equal(t, expiry == 0 && klen <= maxPlainKey && vlen <= mostInline, e.Plain())
					asked := 0
					r.Other = func(_ []byte, found Entry) Entry {
						asked++
						require.Equal(t, e, found)
						return Entry{}
					}
					if live := r.Live(s.Key); e.Plain() {
						require.Equal(t, e, live)
						require.Zero(t, asked)
					} else {
						require.Equal(t, Entry{}, live, "it is for Other to say")
						require.Equal(t, 1, asked)
					}
					require.Equal(t, s.Key, e.Key())
					require.Equal(t, s.Value, e.Value())
					require.Equal(t, vlen, e.Len())
					require.Equal(t, expiry, e.Expiry())
					require.Equal(t, v, e.Version())
					require.False(t, e.Deleted())
					require.Equal(t, v, r.Seen())
					large, is := e.Large()
					require.Equal(t, IsLarge(vlen), is)
					if !is {
						both, n := e.KeyValue()
						require.Equal(t, append(bytes.Clone(s.Key), s.Value...), both)
						require.Equal(t, klen, n)
					}
					r.Unpin()
					if is {
						require.Same(t, &s.Value[0], &large[0], "it is not copied")
						w.set(Spec{Key: s.Key, Value: []byte("another")})
						drain(table)
						require.Zero(t, table.Figures().Large)
						require.Equal(t, bytes.Repeat([]byte{'v'}, vlen), large, "it may be kept")
						require.NoError(t, table.Check(nil))
					}
				}
			}
		}
		require.NoError(t, table.Check(nil))
	})
}

// Every prefix and neighbour of a key is another key.
func TestKeysThatAreNearlyAlike(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		var keys [][]byte
		for n := range 20 {
			keys = append(keys, make([]byte, n))
			for i := range n {
				k := make([]byte, n)
				k[i] = 1
				keys = append(keys, k)
			}
		}
		for i, k := range keys {
			require.False(t, r.get(k).Exists())
			w.set(Spec{Key: k, Value: fmt.Append(nil, i)})
		}
		for i, k := range keys {
			require.Equal(t, fmt.Append(nil, i), r.get(k).Value())
		}
	})
}

// get is Get, and Live, with a pin of its own; what it returns is looked at by tests in which nobody writes.
func (r *Reader) get(k []byte) Entry {
	r.Pin()
	defer r.Unpin()
	e := r.Get(k)
	r.Other = asFound
	if live := r.Live(k); live != e {
		panic(fmt.Sprintf("%q is found in one way, not in the other", k))
	}
	return e
}

// asFound is a Reader's Other that makes Live the same as Get.
func asFound(_ []byte, e Entry) Entry { return e }

// The table beside a Go map: random writes of one key and of many, committed and undone, with compaction in between.
func TestModel(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 256<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		rnd := rand.New(rand.NewPCG(1, 2))
		model := make(map[string][]byte)
		space, steps := 3000, 30_000
		if c.mask == 0 {
			space, steps = 150, 4000
		}
		if race {
			steps /= 6
		}
		value := func() []byte {
			if rnd.IntN(100) == 0 {
				return make([]byte, rnd.IntN(20_000))
			}
			return make([]byte, rnd.IntN(200))
		}
		for step := range steps {
			k := key(rnd.IntN(space))
			switch p := rnd.IntN(100); {
			case p < 40:
				v := value()
				w.set(Spec{Key: k, Value: v, Expiry: uint64(rnd.IntN(2))})
				model[string(k)] = v
			case p < 60:
				_, there := model[string(k)]
				require.Equal(t, there, w.del(k))
				delete(model, string(k))
			case p < 75:
				// The same key more than once, too; few shards, so that lines overflow while switches are in them.
				var specs []Spec
				for range 1 + rnd.IntN(40) {
					k := key(rnd.IntN(space))
					if len(specs) > 0 && rnd.IntN(4) == 0 {
						k = specs[rnd.IntN(len(specs))].Key
					}
					specs = append(specs, Spec{Key: k, Value: value(), Deleted: rnd.IntN(3) == 0})
				}
				commit := rnd.IntN(4) > 0
				w.many(specs, commit)
				for _, s := range specs {
					switch {
					case !commit:
					case s.Deleted:
						delete(model, string(s.Key))
					default:
						model[string(s.Key)] = s.Value
					}
				}
			default:
				e := r.get(k)
				v, there := model[string(k)]
				require.Equal(t, there, e.Exists())
				if there {
					require.Equal(t, v, e.Value())
				}
			}
			if step%(steps/5) == steps/5-1 {
				matches(t, table, r, model)
				if step > steps/2 {
					for k := range model { // deletes most, so that there is something to compact
						if rnd.IntN(10) > 0 {
							w.del([]byte(k))
							delete(model, k)
						}
					}
					table.Compact(1 << 30)
					matches(t, table, r, model)
					table.arena.Scavenge(true)
				}
			}
		}
		for k := range model {
			require.True(t, w.del([]byte(k)))
			delete(model, k)
		}
		for range 20 { // segments are merged a level at a time
			table.Compact(1 << 30)
		}
		matches(t, table, r, model)
		drain(table)
		f := table.Figures()
		require.Zero(t, f.LimboObjects)
		require.EqualValues(t, Shards*(2*lineSize+64), f.Used, "an empty directory and segment for each shard")
	})
}

// matches compares all of the table with the model, by every way to read, and checks it.
func matches(t *testing.T, table *Table, r *Reader, model map[string][]byte) {
	t.Helper()
	found := 0
	require.NoError(t, table.Check(func(e Entry) { found++ }))
	require.Equal(t, len(model), found)

	keys := make([][]byte, 0, len(model)+1)
	for k := range model {
		keys = append(keys, []byte(k))
	}
	keys = append(keys, []byte("no such key"))
	r.Pin()
	defer r.Unpin()
	for _, read := range []func([]Entry){
		func(dst []Entry) { r.GetMany(dst, keys) },
		func(dst []Entry) { r.Snapshot(dst, keys, nil) },
	} {
		got := make([]Entry, len(keys))
		read(got)
		for i, k := range keys {
			v, there := model[string(k)]
			require.Equal(t, there, got[i].Exists())
			if there {
				require.Equal(t, v, got[i].Value())
			}
		}
	}
	seen := make(map[string]bool)
	for h := uint64(0); ; {
		all, last := r.Range(nil, h)
		for _, e := range all {
			require.False(t, seen[string(e.Key())], "a key is met twice")
			seen[string(e.Key())] = true
			require.Equal(t, model[string(e.Key())], e.Value())
		}
		if last == ^uint64(0) {
			break
		}
		h = last + 1
	}
	require.Len(t, seen, len(model))
}

// A write of many keys of one line: a line that overflows while it has switches moves one of them.
func TestTxnInOneLine(t *testing.T) {
	c := config{mask: 0, memory: race}
	for _, n := range []int{1, 2, 10, 11, 12, 21, 22, 40} {
		for _, had := range []int{0, 1, 9, 10, 11, 12, 21} {
			for _, commit := range []bool{true, false} {
				table := c.open(t, 8<<20)
				w := newWriter(table)
				model := make(map[string][]byte)
				for i := range had {
					w.set(Spec{Key: key(i), Value: key(i)})
					model[string(key(i))] = key(i)
				}
				var specs []Spec
				for i := range n {
					k := key(i + had/2)
					specs = append(specs, Spec{Key: k, Value: []byte("new")})
					if commit {
						model[string(k)] = []byte("new")
					}
				}
				w.many(specs, commit)
				r := table.Reader("test")
				matches(t, table, r, model)
				r.Close()
			}
		}
	}
}

// Deletions leave their version behind, for keys that are absent, whatever grows or shrinks.
func TestVersionOfAbsentKeys(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		n := 2000
		if c.mask == 0 {
			n = 100
		}
		deleted := make(map[int]uint64)
		for i := range n {
			w.set(Spec{Key: key(i)})
			if i%3 == 0 {
				if i%2 == 0 {
					w.del(key(i))
				} else {
					w.many([]Spec{{Key: key(i), Deleted: true}, {Key: []byte("other")}}, true)
				}
				deleted[i] = w.versions.Load()
			}
		}
		told := func() {
			table.Compact(1 << 30)
			for i, v := range deleted {
				r.Seen()
				require.False(t, r.get(key(i)).Exists())
				seen := r.Seen()
				require.GreaterOrEqual(t, seen, v)
				require.LessOrEqual(t, seen, w.versions.Load())
			}
		}
		told()
		for i := range n {
			if w.del(key(i)) {
				deleted[i] = w.versions.Load()
			}
		}
		for range 5 {
			told()
		}
	})
}

func TestMemoryRunsOut(t *testing.T) {
	c := config{mask: ^uint64(0), memory: race}
	table := c.open(t, 4<<20)
	w := newWriter(table)
	model := make(map[string][]byte)
	for i := 0; ; i++ {
		h := table.Hash(key(i))
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		p := sh.Find(h, key(i))
		f, ok := sh.Make(&Spec{Key: key(i), Value: key(i)}, false)
		if ok && !sh.Prepare(&p, false) {
			sh.Drop(f)
			ok = false
		}
		if ok {
			sh.Put(&p, f, w.versions.Add(1), 0)
			model[string(key(i))] = key(i)
		}
		sh.Unlock()
		if !ok {
			break
		}
	}
	require.Greater(t, len(model), 10_000)
	r := table.Reader("test")
	defer r.Close()
	matches(t, table, r, model)
	for k := range model {
		require.True(t, w.del([]byte(k)))
		delete(model, k)
		if len(model)%1000 == 0 {
			drain(table)
		}
	}
	matches(t, table, r, model)
}

func TestFirstHashesOfShards(t *testing.T) {
	table := config{^uint64(0), race}.open(t, 16<<20)
	w := newWriter(table)
	for i := range 5000 {
		w.set(Spec{Key: key(i)})
	}
	var begins []uint64
	for i := range Shards {
		table.Shard(i).segments(func(g segment, h uint64) { begins = append(begins, h) })
	}
	require.True(t, slices.IsSorted(begins))
	require.Zero(t, begins[0])
}

// A cursor in the middle of a segment, since what was two segments has been merged, or the other way round.
func TestRangeFromTheMiddle(t *testing.T) {
	table := config{^uint64(0), race}.open(t, 64<<20)
	w := newWriter(table)
	r := table.Reader("scan")
	defer r.Close()
	const n, every = 40_000, 1000
	for i := range n {
		w.set(Spec{Key: key(i)})
	}
	const shard, half = 31, 31<<(64-shardBits) | 1<<(63-shardBits)
	seen := make(map[string]bool)
	r.Pin()
	h := uint64(0)
	for h < half {
		all, last := r.Range(nil, h)
		for _, e := range all {
			seen[string(e.Key())] = true
		}
		h = last + 1
	}
	r.Unpin()
	require.EqualValues(t, half, h, "two segments meet there")
	for i := range n {
		if i%every > 0 {
			w.del(key(i))
		}
	}
	for range 20 {
		table.Compact(1 << 30)
	}
	require.Zero(t, table.directory(table.Shard(shard).root().Load()).depth())
	for i := range n { // some in the one segment that both are now
		if ShardOf(table.Hash(key(i))) == shard && i%every > 0 && i%50 == 0 && table.Hash(key(i)) < half {
			w.set(Spec{Key: key(i)})
		}
	}
	r.Pin()
	defer r.Unpin()
	for ; ; h++ {
		all, last := r.Range(nil, h)
		for _, e := range all {
			require.GreaterOrEqual(t, table.Hash(e.Key()), uint64(half))
			require.False(t, seen[string(e.Key())])
			seen[string(e.Key())] = true
		}
		if h = last; h == ^uint64(0) {
			break
		}
	}
	require.NoError(t, table.Check(func(e Entry) {
		require.True(t, seen[string(e.Key())])
	}))
}

func TestExpect(t *testing.T) {
	a, err := arena.New(arena.Options{Range: 64 << 20, GoMemory: race})
	require.NoError(t, err)
	table, err := New(Options{Arena: a, Seed: seed, HashMask: ^uint64(0), Expect: 100_000})
	require.NoError(t, err)
	defer table.Close()
	w := newWriter(table)
	depths := func() (all []uint8) {
		for i := range Shards {
			table.Shard(i).segments(func(g segment, _ uint64) { all = append(all, *g.depth()) })
		}
		return all
	}
	before := depths()
	for i := range 100_000 {
		w.set(Spec{Key: key(i)})
	}
	require.NoError(t, table.Check(nil))
	require.InDelta(t, len(before), len(depths()), float64(len(before))/20, "hardly a segment grew")
}
