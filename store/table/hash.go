package table

import (
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// hasher makes hashes of keys. Nobody outside can choose keys that collide, since its seeds are random, and what it
// returns is never shown as it is.
type hasher struct {
	seed maphash.Seed
	// first, second and last are random too: seeds for the keys that are most frequent.
	first, second, last uint64
	mask                uint64 // which bits count
}

func newHasher(seed maphash.Seed, mask uint64) hasher {
	r := func(i byte) uint64 { return maphash.Bytes(seed, []byte{i}) }
	return hasher{seed, r(0), r(1), r(2), mask}
}

// hash returns the hash of a key. One of 8 to 16 bytes is hashed as Go's own maps do where the processor has no AES,
// after wyhash (Wang Yi, https://github.com/wangyi-fudan/wyhash): by two multiplications, which take half the time of
// what maphash has to call.
func (h *hasher) hash(key []byte) uint64 {
	if n := len(key); n-8 <= 8 && n >= 8 {
		return h.short(unsafe.Pointer(unsafe.SliceData(key)), n)
	}
	return maphash.Bytes(h.seed, key) & h.mask
}

func (h *hasher) short(p unsafe.Pointer, n int) uint64 {
	a, b := *(*uint64)(p), *(*uint64)(unsafe.Add(p, n-8))
	hi, lo := bits.Mul64(a^h.first, b^h.second)
	hi, lo = bits.Mul64(hi^lo, h.last^uint64(n))
	return (hi ^ lo) & h.mask
}
