package arena

import "math/bits"

const (
	minSize  = 64       // the smallest object: a line of the processor's cache
	maxSmall = 64 << 10 // the largest that shares a span with others

	// spanObjects is the most objects that a span has: the bits of its bitmap.
	spanObjects = 256
	// A span has as few pages as waste at most 1/spanWaste of it behind the last object.
	maxSpanPages = 32
	spanWaste    = 32

	// magazineSize is the most free objects of a class that a heap keeps at hand, and magazineBytes how many bytes they may have.
	magazineSize  = 32
	magazineBytes = 4 << 10
)

// classes are the sizes that objects come in.
type classes struct {
	sizes []uint32
	// index maps (n+15)/16 to the class of an object of n bytes.
	index [maxSmall/16 + 1]uint8
	shape []shape
}

// shape is what all spans of a class have in common.
type shape struct {
	pages    uint32
	objects  uint16
	magazine uint8  // how many free objects a heap keeps at hand; 0: none
	inverse  uint32 // ceil(2^32 / size), to divide by it
}

// newClasses makes classes whose sizes are multiples of unit, a power of two from 16 to 64. Below a power of two they rise
// in steps of a sixteenth of it, an eighth above 4 KiB, so every multiple of 64 up to 1 KiB is one: such objects begin at a
// line.
func newClasses(unit int) *classes {
	c := &classes{}
	for size := minSize; size <= maxSmall; {
		c.sizes = append(c.sizes, uint32(size))
		c.shape = append(c.shape, shapeOf(size))
		step := 1 << (bits.Len(uint(size)) - 1) / 16
		if size >= 4<<10 {
			step *= 2
		}
		size += max(step, unit)
	}
	class := 0
	for i := range c.index {
		if i*16 > int(c.sizes[class]) {
			class++
		}
		c.index[i] = uint8(class)
	}
	return c
}

// shapeOf returns how spans of objects of this size are cut.
func shapeOf(size int) shape {
	pages, best := 1, 0
	for p := 1; p <= maxSpanPages; p++ {
		n := p * pageSize / size
		if n > spanObjects {
			break
		}
		if n == 0 {
			continue
		}
		waste := p*pageSize - n*size
		if best == 0 || waste*pages < best*p {
			pages, best = p, max(waste, 1)
		}
		if waste*spanWaste <= p*pageSize {
			pages = p
			break
		}
	}
	return shape{
		pages:    uint32(pages),
		objects:  uint16(min(pages*pageSize/size, spanObjects)),
		magazine: uint8(min(magazineSize, magazineBytes/size)) &^ 1,
		inverse:  uint32((1<<32 + size - 1) / size),
	}
}

// of returns the class of objects of n bytes, n ≤ maxSmall.
func (c *classes) of(n int) uint8 { return c.index[(n+15)/16] }
