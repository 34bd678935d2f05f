package table

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// families are keys as programs number them, of each length that is hashed in another way.
func families() map[string]func(i int) []byte {
	f := map[string]func(i int) []byte{}
	for _, n := range []int{4, 7, 8, 9, 12, 15, 16, 17, 24} {
		f[fmt.Sprint(n, " digits")] = func(i int) []byte { return fmt.Appendf(nil, "%0*d", n, i) }
	}
	for _, n := range []int{8, 11, 16} {
		f[fmt.Sprint(n, " bytes, the last count")] = func(i int) []byte {
			return binary.BigEndian.AppendUint64(make([]byte, n-8), uint64(i))
		}
		f[fmt.Sprint(n, " bytes, the first count")] = func(i int) []byte {
			return append(binary.LittleEndian.AppendUint64(nil, uint64(i)), make([]byte, n-8)...)
		}
		f[fmt.Sprint(n, " bytes, single bits and pairs")] = func(i int) []byte {
			b := make([]byte, n)
			for _, at := range []int{i % (8 * n), i / (8 * n) % (8 * n)} {
				b[at/8] ^= 1 << (at % 8)
			}
			return b
		}
	}
	return f
}

// TestHashSpreads: keys that differ in little have hashes of which every part that the table looks at is as even as if
// it were random.
func TestHashSpreads(t *testing.T) {
	for name, key := range families() {
		t.Run(name, func(t *testing.T) {
			h := newHasher(maphash.MakeSeed(), ^uint64(0))
			seen := map[string]bool{}
			parts := map[string]func(h uint64) uint64{
				"shard and directory": func(h uint64) uint64 { return h >> 54 },
				"directory":           func(h uint64) uint64 { return h >> 44 & 1023 },
				"tag":                 func(h uint64) uint64 { return uint64(tagOf(h)) },
				"line and tag":        func(h uint64) uint64 { return h & 1023 },
				"line and shard":      func(h uint64) uint64 { return h&31<<5 | h>>59 },
			}
			counts := map[string][]float64{}
			for p := range parts {
				counts[p] = make([]float64, 1024)
			}
			for i := range 10_000 {
				k := key(i)
				if seen[string(k)] {
					continue
				}
				seen[string(k)] = true
				for p, of := range parts {
					counts[p][of(h.hash(k))]++
				}
			}
			for p, c := range counts {
				n := 1024
				if p == "tag" {
					n = 256
				}
				want, sum := float64(len(seen))/float64(n), 0.0
				for _, x := range c[:n] {
					sum += (x - want) * (x - want) / want
				}
				// Chi square of n-1 degrees: it is as far above once in 10^20.
				require.Less(t, sum, float64(n)+10*math.Sqrt(2*float64(n)), p)
			}
		})
	}
}

// Each bit of a key decides about each bit of the hash, and its length does.
func TestHashLooksAtAll(t *testing.T) {
	for n := range 40 {
		changed := 0
		const seeds = 50
		key := make([]byte, n)
		for range seeds {
			h := newHasher(maphash.MakeSeed(), ^uint64(0))
			was := h.hash(key)
			require.Equal(t, was, h.hash(append([]byte(nil), key...)))
			require.NotEqual(t, was, h.hash(append([]byte(nil), make([]byte, n+1)...)))
			for i := range 8 * n {
				key[i/8] ^= 1 << (i % 8)
				changed += bits.OnesCount64(was ^ h.hash(key))
				key[i/8] ^= 1 << (i % 8)
			}
		}
		if n > 0 {
			require.InDelta(t, 32, float64(changed)/float64(seeds*8*n), 1, "%d bytes", n)
		}
	}
}
