package store

import (
	"sync/atomic"
	"unsafe"
)

// maxSmall is the largest object that the allocator rounds up to a size class; above, it rounds up to pages.
const (
	maxSmall = 32 << 10
	pageSize = 8 << 10
)

// classes maps (n+7)/8 to the bytes that the allocator takes for an object of n bytes without pointers, learned from the
// allocator itself: append grows a slice to all of its class.
var classes = func() (t [maxSmall/8 + 1]uint16) {
	class := 0
	for i := range t {
		if n := i * 8; n > class {
			class = cap(append([]byte(nil), make([]byte, n)...))
		}
		t[i] = uint16(class)
	}
	return t
}()

// allocated returns the memory that an object of n bytes takes.
func allocated(n int) int64 {
	if n <= maxSmall-8 {
		return int64(classes[(n+7)/8])
	}
	return int64(n+pageSize-1) &^ (pageSize - 1)
}

const pointerSize = 8

// scanned returns the memory that an object of n bytes with pointers takes: a large one has a header of its own.
func scanned(n int) int64 {
	if n > 512 {
		n += pointerSize
	}
	return allocated(n)
}

var segmentMemory = scanned(int(unsafe.Sizeof(segment{})))

func directoryMemory(d *directory) int64 {
	return allocated(int(unsafe.Sizeof(*d))) + scanned(len(d.segments)*pointerSize)
}

// bucketMemory is the memory of a bucket without its entries, current or kept.
func bucketMemory(b *bucket) int64 {
	if b == nil {
		return 0
	}
	ext := b.ext()
	if ext == nil {
		return allocated(bucketHeader + int(b.meta&countMask)*pointerSize)
	}
	n := allocated(int(unsafe.Sizeof(extendedBucket{}))) + allocated(int(unsafe.Sizeof(*ext))) +
		scanned(cap(ext.entries)*pointerSize) + allocated(cap(ext.tags)) +
		scanned(cap(ext.history)*int(unsafe.Sizeof(chain(nil))))
	for _, c := range ext.history {
		n += scanned(cap(c) * pointerSize)
	}
	return n
}

// chainsMemory is the part of bucketMemory that is there for history alone.
func chainsMemory(b *bucket) int64 {
	ext := b.ext()
	if ext == nil || len(ext.history) == 0 {
		return 0
	}
	if len(ext.entries) == 0 {
		return bucketMemory(b) - allocated(bucketHeader+int(b.meta&countMask)*pointerSize)
	}
	n := scanned(cap(ext.history) * int(unsafe.Sizeof(chain(nil))))
	for _, c := range ext.history {
		n += scanned(cap(c) * pointerSize)
	}
	return n
}

// replaced is the effect of next taking the place of b, but for their entries.
func replaced(b, next *bucket) effect {
	if b.ext() == nil && next.ext() == nil {
		return effect{memory: bucketMemory(next) - bucketMemory(b)}
	}
	return effect{memory: bucketMemory(next) - bucketMemory(b), past: chainsMemory(next) - chainsMemory(b)}
}

func entryMemory(e *Entry) int64 { return allocated(e.size()) }

// budget is the memory that the store has taken.
type budget struct {
	limit int64 // 0: none
	// used is exact at every moment at which no write is under way, and so is past, the part of it that history takes.
	used, past atomic.Int64
	withheld   atomic.Int64 // of limit; publishes nothing
}

// Withhold says that so many bytes of the limit must not be used, since the process takes that memory otherwise, in holes between
// objects for one; 0: all may be used.
func (s *Store) Withhold(bytes int64) { s.budget.withheld.Store(bytes) }

// hopeless reports whether n more bytes, none of them history, would not fit even if all history were given up. What shrinks
// always fits. While others write it may be off by what they are about to book.
func (b *budget) hopeless(n int64) bool {
	return n > 0 && b.used.Load()-b.past.Load()+n > b.limit
}

// take adds n bytes and reports whether the limit allows it; if not, nothing is added.
func (b *budget) take(n int64) bool {
	if n <= 0 || b.limit == 0 {
		b.used.Add(n)
		return true
	}
	for {
		// Not added first and taken back then: meanwhile others would be refused.
		used := b.used.Load()
		if used+n > b.limit-b.withheld.Load() {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}
