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
				random := rand.New(rand.NewPCG(seed.Add(1), 1))
				key, value := make([]byte, 0, keySize), make([]byte, valueSize)
				for pb.Next() {
					key = appendKey(key[:0], random.Uint64N(keys))
					value[7]++
					set(key, value)
				}
			})
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
		})
		if t != nil {
			t.close()
		}
	}
}
