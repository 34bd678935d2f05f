package arena

import "unsafe"

// memory is where the range comes from.
type memory interface {
	base() unsafe.Pointer
	// commit makes memory, all zeros, of n bytes from offset on.
	commit(offset, n uint64) error
	// discard gives n bytes from offset on back to the system and reports whether it did; commit makes zeros of them again.
	discard(offset, n uint64) bool
	// records returns Arena.spans and Arena.classAt for n pages, all zero.
	records(n int) ([]span, []uint8, error)
	// release gives everything back.
	release()
}

// goMemory is memory of Go's heap: what the race detector and checkptr can watch.
type goMemory struct {
	words []uint64
	first unsafe.Pointer
	gives bool // it passes as memory that can be given back
}

func newGoMemory(size uint64, gives bool) *goMemory {
	m := &goMemory{gives: gives, words: make([]uint64, (size+ChunkSize)/8)}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(m.words)))
	// Safe: words has ChunkSize bytes more than what is used from the first multiple of ChunkSize on.
	m.first = unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.words)), (ChunkSize-at%ChunkSize)%ChunkSize)
	return m
}

func (m *goMemory) base() unsafe.Pointer        { return m.first }
func (m *goMemory) commit(uint64, uint64) error { return nil }
func (m *goMemory) release()                    {}

func (m *goMemory) records(n int) ([]span, []uint8, error) {
	return make([]span, n), make([]uint8, n), nil
}

func (m *goMemory) discard(offset, n uint64) bool {
	if m.gives {
		clear(unsafe.Slice((*byte)(unsafe.Add(m.first, offset)), n))
	}
	return m.gives
}
