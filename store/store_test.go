package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	for _, keep := range []int{0, 3} {
		for _, mask := range []uint64{^uint64(0), 0, 0xf000_0000_0000_0000, 0xf} {
			s, err := open(Options{History: keep}, mask, systemClock)
			require.NoError(t, err)
			c := s.Session()
			n := 3000
			if mask == ^uint64(0) {
				n = 100000
			}
			for i := range n {
				_, err := c.Set(fmt.Appendf(nil, "key%d", i), fmt.Appendf(nil, "value%d", i), SetOptions{})
				require.NoError(t, err)
			}
			require.NoError(t, s.Check())
			for i := range n {
				e := c.Get(fmt.Appendf(nil, "key%d", i))
				require.NotNil(t, e)
				require.Equal(t, fmt.Sprintf("value%d", i), string(e.Value()))
			}
			require.Nil(t, c.Get([]byte("no")))
			var pairs []Pair
			for i := range n {
				pairs = append(pairs, Pair{fmt.Appendf(nil, "key%d", i*2), []byte("new")})
			}
			v, err := c.MSet(pairs)
			require.NoError(t, err)
			require.NoError(t, s.Check())
			require.Equal(t, v, c.Get([]byte("key0")).Version())
			seen := map[string]int{}
			var cur []byte
			for {
				p, err := c.Scan(cur, ScanOptions{Limit: 10})
				require.NoError(t, err)
				for _, e := range p.Entries {
					seen[string(e.Key())]++
				}
				if cur = p.Next; cur == nil {
					break
				}
			}
			require.Len(t, seen, n+n/2)
			var keys [][]byte
			for k := range seen {
				keys = append(keys, []byte(k))
			}
			x, _, err := c.Del(keys[:100])
			require.NoError(t, err)
			require.Equal(t, 100, x)
			for _, k := range keys[100:] {
				x, _, err := c.Del([][]byte{k})
				require.NoError(t, err)
				require.Equal(t, 1, x)
			}
			require.NoError(t, s.Check())
			st := c.Stats()
			require.Zero(t, st.Keys)
			require.Zero(t, st.ValueBytes)
			t.Logf("%+v", st)
			if keep > 0 {
				r := c.History(nil, []byte("key0"), 0)
				require.Len(t, r, 3)
				v, err := c.Rollback([]byte("key0"), r[2].Entry.Version())
				require.NoError(t, err)
				require.Equal(t, "value0", string(c.Get([]byte("key0")).Value()))
				require.Equal(t, v, c.Get([]byte("key0")).Version())
				require.NoError(t, s.Check())
			}
			c.Close()
			require.NoError(t, s.Close())
		}
	}
}

var sink *Entry

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, 1000000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, _ := Open(Options{})
			defer s.Close()
			c := s.Session()
			keys := make([][]byte, n)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "kkkkkkkk%08d", i)
				c.Set(keys[i], make([]byte, 32), SetOptions{})
			}
			b.Logf("mem/key %d", c.Stats().MemoryBytes/uint64(n))
			b.ReportAllocs()
			x := uint64(1)
			for b.Loop() {
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
				sink = c.Get(keys[x%uint64(n)])
			}
		})
	}
}
