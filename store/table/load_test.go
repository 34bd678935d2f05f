package table

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAdd: a table that is filled with Add, and the long way where that does nothing, is one that was written to,
// whether anybody reads meanwhile or not, in which nothing is found twice and nothing that was there is changed.
func TestAdd(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		for _, alone := range []bool{false, true} {
			for _, keeps := range []bool{false, true} {
				t.Run(fmt.Sprintf("alone %v, keeps %v", alone, keeps), func(t *testing.T) { testAdd(t, c.openKeeping(t, 64<<20, keeps), alone) })
			}
		}
	})
}

func testAdd(t *testing.T, table *Table, alone bool) {
	rng := rand.New(rand.NewPCG(7, 7))
	w := newWriter(table)
	n := 20_000
	if table.hasher.mask != ^uint64(0) {
		n = 300
	}
	want := map[string]string{}
	expiry := map[string]uint64{}
	check := func() {
		r := table.Reader("test")
		defer r.Close()
		r.Pin()
		defer r.Unpin()
		for k, v := range want {
			e := r.get([]byte(k))
			require.True(t, e.Exists(), k)
			require.Equal(t, v, string(e.Value()), k)
			require.Equal(t, expiry[k], e.Expiry(), k)
		}
		require.False(t, r.get([]byte("another")).Exists())
		require.NoError(t, table.Check(nil))
	}
	added, others := 0, 0
	fill := func() {
		for range n {
			s := Spec{Key: key(rng.IntN(n)), Expiry: uint64(rng.IntN(2)) * 77}
			s.Value = sealed(s.Key, rng.IntN(100), rng.Uint64())
			if rng.IntN(50) == 0 {
				s.Value = make([]byte, mostInline+1)
			}
			h := table.Hash(s.Key)
			sh := table.Shard(ShardOf(h))
			sh.Lock()
			sh.WarmLines([]uint64{h})
			_, exists := want[string(s.Key)]
			ok := sh.Add(h, &s, w.versions.Add(1))
			sh.Unlock()
			require.False(t, ok && (exists || IsLarge(len(s.Value))))
			if added++; !ok {
				added, others = added-1, others+1
				w.set(s)
			}
			want[string(s.Key)], expiry[string(s.Key)] = string(s.Value), s.Expiry
		}
	}
	table.Loading(true, alone)
	fill()
	table.Loading(false, false)
	check()
	if table.hasher.mask == ^uint64(0) {
		require.Greater(t, added, n/2, "of keys of which %d were there already", others)
	}
	for i := range n / 2 { // places are free again, before others that are not
		if k := key(rng.IntN(n)); w.del(k) {
			delete(want, string(k))
		}
		if i%10 == 0 {
			w.set(Spec{Key: key(i), Value: []byte("v")})
			want[string(key(i))], expiry[string(key(i))] = "v", 0
		}
	}
	check()
	table.Loading(true, alone)
	fill()
	table.Loading(false, false)
	check()
}
