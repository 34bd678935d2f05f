package table

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A key that a transaction has written, and then leaves as it was.
func TestRevert(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.openKeeping(t, 16<<20, true)
		w := newWriter(table)
		w.keep = 3
		for i := range 3 {
			w.set(Spec{Key: []byte("a"), Value: key(i)})
		}
		w.del([]byte("b"))
		before := w.versions.Load()
		k := []byte("a")
		h := table.Hash(k)
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		var x Txn
		require.True(t, x.Begin(sh, false))
		p := sh.Find(h, k)
		_, own := p.Mark()
		require.False(t, own)
		large := make([]byte, 10_000)
		ok := x.Stage(&p, w.make(sh, Spec{Key: k, Value: large}), 7, false)
		require.True(t, ok)
		p = sh.Find(h, k)
		mark, own := p.Mark()
		require.True(t, own)
		require.EqualValues(t, 7, mark)
		require.Equal(t, large, p.Entry().Value())
		x.Revert(&p)
		x.Commit(w.versions.Add(1), w.keep)
		sh.Unlock()
		require.NoError(t, table.Check(nil))

		r := table.Reader("test")
		defer r.Close()
		require.Equal(t, key(2), r.get(k).Value())
		require.Equal(t, before, r.get(k).Version())
		sh.Lock()
		defer sh.Unlock()
		p = sh.Find(h, k)
		kept, _ := sh.Kept()
		require.EqualValues(t, 2, kept)
	})
}

// Versions that come in any order, some of them twice, are kept in theirs: the newest of them.
func TestInsert(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		rnd := rand.New(rand.NewPCG(1, 4))
		for range 50 {
			table := c.openKeeping(t, 16<<20, true)
			w := newWriter(table)
			const keep = 4
			k := []byte("key")
			h := table.Hash(k)
			sh := table.Shard(ShardOf(h))
			versions := rnd.Perm(1 + rnd.IntN(10))
			versions = append(versions, versions[rnd.IntN(len(versions))])
			sh.Lock()
			for _, v := range versions {
				version := uint64(v + 1)
				p := sh.Find(h, k)
				if p.Entry().Exists() && p.Entry().Version() == version {
					continue
				}
				f := w.make(sh, Spec{Key: k, Value: key(v)})
				require.True(t, sh.Prepare(&p, false))
				switch {
				case !p.Entry().Exists() || p.Entry().Version() < version:
					sh.Put(&p, f, version, keep)
				case !sh.Insert(&p, f, version, keep):
					sh.Drop(f)
				}
			}
			var got []uint64
			p := sh.Find(h, k)
			got = append(got, p.Entry().Version())
			sh.Revisions(&p, func(e Entry) bool {
				require.Equal(t, key(int(e.Version()-1)), e.Value())
				got = append(got, e.Version())
				return true
			})
			sh.Unlock()
			slices.Sort(versions)
			versions = slices.Compact(versions)
			slices.Reverse(versions)
			var want []uint64
			for _, v := range versions[:min(len(versions), keep+1)] {
				want = append(want, uint64(v+1))
			}
			require.Equal(t, want, got)
			require.NoError(t, table.Check(nil))
		}
	})
}

// Where there is no memory for growth, lines overflow; when there is, segments grow again.
func TestGrowthWithoutMemory(t *testing.T) {
	table := config{^uint64(0), race}.open(t, 8<<20)
	w := newWriter(table)
	model := make(map[string][]byte)
	for i := 0; ; i++ {
		h := table.Hash(key(i))
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		p := sh.Find(h, key(i))
		f, ok := sh.Make(&Spec{Key: key(i), Value: make([]byte, 200)}, false)
		if ok && !sh.Prepare(&p, false) {
			sh.Drop(f)
			ok = false
		}
		if ok {
			sh.Put(&p, f, w.versions.Add(1), 0)
			model[string(key(i))] = make([]byte, 200)
		}
		sh.Unlock()
		if !ok {
			break
		}
	}
	r := table.Reader("test")
	defer r.Close()
	matches(t, table, r, model)
}
