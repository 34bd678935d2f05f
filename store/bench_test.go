package store

import (
	"fmt"
	"testing"
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
