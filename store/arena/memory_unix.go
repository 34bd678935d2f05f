//go:build unix

package arena

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is memory of the system, beside Go's heap.
type mapped struct {
	all   []byte // the reservation, with room to align it
	first unsafe.Pointer
	table []byte // the mapping of Arena.spans with Arena.classAt behind it
}

// minReserve is the fewest addresses that an arena is content with.
const minReserve = 64 << 20

// reserve returns size bytes of addresses, fewer if the system does not grant as many (RLIMIT_AS, vm.overcommit_memory), and
// how many. With huge, huge pages are asked for.
func reserve(size uint64, useGo, huge bool) (memory, uint64, error) {
	if useGo {
		return newGoMemory(size, true), size, nil
	}
	for {
		all, err := mapNothing(size + ChunkSize)
		if err == nil {
			at := uintptr(unsafe.Pointer(unsafe.SliceData(all)))
			m := &mapped{all: all}
			// Safe: all has ChunkSize bytes more than what is used from the first multiple of ChunkSize on.
			m.first = unsafe.Add(unsafe.Pointer(unsafe.SliceData(all)), (ChunkSize-at%ChunkSize)%ChunkSize)
			advise(all, huge)
			return m, size, nil
		}
		if size/2 < minReserve {
			return nil, size, err
		}
		size = size / 2 &^ (ChunkSize - 1)
	}
}

// mapNothing reserves addresses without memory: what is touched there faults.
func mapNothing(n uint64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE|mapNoReserve)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return b, nil
}

func (m *mapped) base() unsafe.Pointer { return m.first }

func (m *mapped) bytes(offset, n uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.first, offset)), n)
}

func (m *mapped) commit(offset, n uint64) error {
	return unix.Mprotect(m.bytes(offset, n), unix.PROT_READ|unix.PROT_WRITE)
}

func (m *mapped) discard(offset, n uint64) bool { return discard(m.bytes(offset, n)) }

func (m *mapped) records(n int) ([]span, []uint8, error) {
	spans := n * int(unsafe.Sizeof(span{}))
	table, err := unix.Mmap(-1, 0, spans+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapNoReserve)
	if err != nil {
		return nil, nil, fmt.Errorf("mmap: %w", err)
	}
	m.table = table
	// Safe: the mapping has n records' bytes, begins at a page, and a span has no pointers.
	return unsafe.Slice((*span)(unsafe.Pointer(unsafe.SliceData(table))), n), table[spans:], nil
}

func (m *mapped) release() {
	// Neither can fail: both are whole mappings.
	_ = unix.Munmap(m.all)
	if m.table != nil {
		_ = unix.Munmap(m.table)
	}
}
