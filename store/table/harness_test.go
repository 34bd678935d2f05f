package table

import (
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/store/arena"
)

// config is what everything is tried with: good, bad and constant hashes, and both memories; under the race detector
// the one that it can watch.
type config struct {
	mask   uint64
	memory bool
}

func configs(t *testing.T, f func(t *testing.T, c config)) {
	masks := map[string]uint64{"good hashes": ^uint64(0), "16 hashes": 0xc000_0000_0000_0021, "one hash": 0}
	for name, mask := range masks {
		for memory, useGo := range map[string]bool{"mapped": false, "Go memory": true} {
			if race && !useGo {
				continue
			}
			t.Run(name+", "+memory, func(t *testing.T) { f(t, config{mask, useGo}) })
		}
	}
}

var seed = maphash.MakeSeed()

func (c config) open(t testing.TB, size int64) *Table { return c.openKeeping(t, size, false) }

func (c config) openKeeping(t testing.TB, size int64, keeps bool) *Table {
	a, err := arena.New(arena.Options{Range: size, GoMemory: c.memory, Poison: true})
	require.NoError(t, err)
	table, err := New(Options{Arena: a, Keeps: keeps, Marks: true, Seed: seed, HashMask: c.mask})
	require.NoError(t, err)
	t.Cleanup(table.Close)
	return table
}

// writer does what a store does with a table: one write at a time under the locks, each with a version.
type writer struct {
	t        *Table
	versions *atomic.Uint64
	txn      Txn
	keep     int
}

func newWriter(t *Table) *writer { return &writer{t: t, versions: new(atomic.Uint64)} }

func (w *writer) make(sh *Shard, s Spec) Fresh {
	f, ok := sh.Make(&s, false)
	if !ok {
		panic("no memory")
	}
	return f
}

func (w *writer) set(s Spec) uint64 {
	h := w.t.Hash(s.Key)
	w.t.Prefetch(h)
	sh := w.t.Shard(ShardOf(h))
	sh.Lock()
	defer sh.Unlock()
	sh.Begin(&s)
	p := sh.Find(h, s.Key)
	f := w.make(sh, s)
	if !sh.Prepare(&p, false) {
		panic("no memory")
	}
	v := w.versions.Add(1)
	sh.Put(&p, f, v, w.keep)
	return v
}

func (w *writer) del(key []byte) bool {
	h := w.t.Hash(key)
	sh := w.t.Shard(ShardOf(h))
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	if !p.Entry().Exists() || p.Entry().Deleted() {
		return false
	}
	if w.t.keeps {
		f := w.make(sh, Spec{Key: key, Deleted: true})
		if !sh.Prepare(&p, false) {
			panic("no memory")
		}
		sh.Put(&p, f, w.versions.Add(1), w.keep)
		return true
	}
	sh.Delete(&p, w.versions.Add(1))
	return true
}

// forget drops so many of the oldest kept versions of a key, at most.
func (w *writer) forget(key []byte, most int) {
	h := w.t.Hash(key)
	sh := w.t.Shard(ShardOf(h))
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	sh.Forget(&p, most, func(Entry, uint64) bool { return true })
}

// many sets and, where Deleted is set, deletes all of these at one instant, or undoes it.
func (w *writer) many(specs []Spec, commit bool) {
	var set ShardSet
	for _, s := range specs {
		set.Add(ShardOf(w.t.Hash(s.Key)))
	}
	w.t.LockAll(set)
	defer w.t.UnlockAll(set)
	if !w.txn.Begin(w.t.Shard(ShardOf(w.t.Hash(specs[0].Key))), false) {
		panic("no memory")
	}
	for _, s := range specs {
		h := w.t.Hash(s.Key)
		sh := w.t.Shard(ShardOf(h))
		p := sh.Find(h, s.Key)
		var f Fresh
		if s.Deleted && (!p.Entry().Exists() || p.Entry().Deleted()) {
			continue
		}
		if !s.Deleted || w.t.keeps && p.current() != 0 {
			f = w.make(sh, s)
		}
		if !w.txn.Stage(&p, f, 0, false) {
			panic("no memory")
		}
	}
	if commit {
		w.txn.Commit(w.versions.Add(1), w.keep)
		return
	}
	w.txn.Undo()
}

// key is one of many keys; every second is as long as those are for which there are shorter ways.
func key(i int) []byte {
	if i%2 == 0 {
		return []byte("key" + strconv.Itoa(i))
	}
	return []byte("long key" + strconv.Itoa(i))
}

// sealed is a value of n bytes, at least 16, that says whose it is and can be checked.
func sealed(key []byte, n int, stamp uint64) []byte {
	v := make([]byte, max(n, 16))
	for i := range v {
		v[i] = byte(stamp)
	}
	binary.LittleEndian.PutUint64(v[8:], stamp)
	binary.LittleEndian.PutUint32(v[4:], crc32.ChecksumIEEE(key))
	binary.LittleEndian.PutUint32(v, crc32.ChecksumIEEE(v[4:]))
	return v
}

// unsealed checks a value and returns its stamp.
func unsealed(key, v []byte) (stamp uint64, ok bool) {
	if len(v) < 16 || binary.LittleEndian.Uint32(v) != crc32.ChecksumIEEE(v[4:]) || binary.LittleEndian.Uint32(v[4:]) != crc32.ChecksumIEEE(key) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(v[8:]), true
}

func drain(t *Table) {
	for range 3 { // an Advance may rest
		for i := range Shards {
			sh := t.Shard(i)
			sh.Lock()
			sh.Drain()
			sh.Unlock()
		}
	}
}
