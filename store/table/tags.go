package table

import "math/bits"

const (
	lowBytes  = 0x0101010101010101
	highBytes = 0x8080808080808080
)

// zeroBytes has the top bit set of each byte of x that is 0, and perhaps of some above the lowest of these: see Mycroft's
// test in Warren, "Hacker's Delight", 6-1.
func zeroBytes(x uint64) uint64 { return (x - lowBytes) &^ x & highBytes }

// fits has the top bit set of the byte of each of the first eight places whose tag is, or may be, this one.
func (l line) fits(tag uint8) uint64 { return zeroBytes(l.tags().Load() ^ uint64(tag)*lowBytes) }

// fitsLast is fits of the last three places.
func (l line) fitsLast(tag uint8) uint64 {
	return zeroBytes(uint64(l.lastTags().Load()^uint32(tag)*0x010101)) & 0x808080
}

// matches has bit i set if the tag of place i is, or may be, this one.
func (l line) matches(tag uint8) (m uint16) {
	for x := l.fits(tag); x != 0; x &= x - 1 {
		m |= 1 << (bits.TrailingZeros64(x) >> 3)
	}
	for x := l.fitsLast(tag); x != 0; x &= x - 1 {
		m |= 1 << (8 + bits.TrailingZeros64(x)>>3)
	}
	return m
}
