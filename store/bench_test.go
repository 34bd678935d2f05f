package store

import (
	"fmt"
	"testing"
)

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
