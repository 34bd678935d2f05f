package peers

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkSet gives keys that are there another value of the same length, in an order without pattern, with as many
// goroutines as -cpu says.
func BenchmarkSet(b *testing.B) {
	const keys = 2_000_000
	for _, kind := range tables {
		var t table
		b.Run(kind.name, func(b *testing.B) {
			if t == nil { // the same for every b.N
				t = kind.open()
				fill(t, keys)
			}
			b.ReportAllocs()
			var seed atomic.Uint64
			var mu sync.Mutex
			begin := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				mu.Lock()
				set := t.writer()
				mu.Unlock()
				var own struct { // what this goroutine writes to, on lines of the processor's cache that are its own
					_      [128]byte
					random rand.PCG
					key    [keySize]byte
					value  [valueSize]byte
					_      [128]byte
				}
				own.random.Seed(seed.Add(1), 1)
				random := rand.New(&own.random)
				for pb.Next() {
					key := appendKey(own.key[:0], random.Uint64N(keys))
					own.value[7]++
					set(key, own.value[:])
				}
			})
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
		})
		if t != nil {
			t.close()
		}
	}
}
