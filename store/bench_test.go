package store

import (
	"fmt"
	"testing"
	"time"

	"kv/store/arena"
)

var sink *Entry

// work is a store of n keys, and the next of them in a random order.
type work struct {
	*Session
	keys [][]byte
	x    uint64
}

func newWork(b *testing.B, n int, o Options, set SetOptions) *work {
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	w := &work{Session: s.Session(), keys: make([][]byte, n), x: 1}
	for i := range w.keys {
		w.keys[i] = fmt.Appendf(nil, "kkkkkkkk%08d", i)
		if _, err := w.Set(w.keys[i], make([]byte, 32), set); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("mem/key %d", w.Stats().MemoryBytes/uint64(n))
	b.ReportAllocs()
	return w
}

func (w *work) next() []byte {
	w.x ^= w.x << 13
	w.x ^= w.x >> 7
	w.x ^= w.x << 17
	return w.keys[w.x%uint64(len(w.keys))]
}

const benchTTL = 1e9

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, 1000000} {
		for name, o := range map[string]SetOptions{"plain": {}, "ttl": {TTL: benchTTL}} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				w := newWork(b, n, Options{}, o)
				for b.Loop() {
					sink = w.Get(w.next())
				}
			})
		}
	}
}

func BenchmarkSet(b *testing.B) {
	value := make([]byte, 32)
	for name, o := range map[string]Options{"plain": {}, "ttl": {}, "history": {History: 2}} {
		set := SetOptions{}
		if name == "ttl" {
			set.TTL = benchTTL
		}
		b.Run(name, func(b *testing.B) {
			w := newWork(b, 100_000, o, set)
			for b.Loop() {
				if _, err := w.Set(w.next(), value, set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSweep removes keys that expire in an order without pattern, a twentieth of 500 000 with each sweep, and
// reports the time for each.
func BenchmarkSweep(b *testing.B) {
	const keys, sweeps = 500_000, 20
	var took time.Duration
	for b.Loop() {
		clock := new(fakeClock)
		s, err := open(Options{}, fullHash, clock.read, arena.Options{Range: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		c := s.Session()
		for i := range keys {
			if _, err := c.Set(fmt.Appendf(nil, "kkkkkkkk%08d", i), make([]byte, 32), SetOptions{TTL: uint64(1 + i*7919%sweeps*1000)}); err != nil {
				b.Fatal(err)
			}
		}
		for range sweeps {
			clock.pass(1000)
			begin := time.Now()
			s.sweep()
			took += time.Since(begin)
		}
		if n := c.Stats().Keys; n != 0 {
			b.Fatal("keys are left: ", n)
		}
		c.Close()
		s.Close()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took)/float64(b.N*keys), "ns/key")
}
