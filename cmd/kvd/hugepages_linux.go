package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lookup touches memory without pattern, and with pages of 4 KiB each touch also misses the processor's table of pages.
// So the heap is moved to pages of 2 MiB as it grows. (Servers that fork for a snapshot have to turn such pages off: each
// write after a fork would copy a whole one.)
//
// It is moved page by page, and only where all of a page is in memory. To advise the system to use such pages wherever
// the heap is (MADV_HUGEPAGE) would be simpler, but then it also fills up those of which most was given back, all by
// itself: an emptied store took more memory from minute to minute, of which Go knew nothing.

const hugePage = 2 << 20

// hugePages moves the heap to huge pages.
type hugePages struct {
	mu    sync.Mutex
	moved map[uintptr]struct{} // the huge pages that were moved; guarded by mu
}

// cover moves what of the heap is not moved yet; address is one in the heap. It is called after a collection, beside the
// program; if the last call is still at it, it does nothing.
func (p *hugePages) cover(address uintptr) error {
	if !p.mu.TryLock() {
		return nil
	}
	defer p.mu.Unlock()
	allowed, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(allowed), "[never]") {
		return nil // the kernel has none, or the machine's owner does not want them
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find the heap: %w", err)
	}
	defer maps.Close()
	areas, err := heapAreas(maps, address)
	if err != nil {
		return fmt.Errorf("find the heap: %w", err)
	}
	if p.moved == nil {
		p.moved = make(map[uintptr]struct{})
	}
	for _, a := range areas {
		for at := (a.from + hugePage - 1) &^ (hugePage - 1); at+hugePage <= a.to; at += hugePage {
			_, moved := p.moved[at]
			whole := inMemory(at) == hugePage
			switch {
			case moved && !whole:
				delete(p.moved, at) // a part was given back
			case !moved && whole && madvise(at, hugePage, unix.MADV_COLLAPSE) == nil:
				p.moved[at] = struct{}{}
				// One that can't be moved now, for want of memory, is tried again next time.
			}
		}
	}
	return nil
}

func madvise(from, size uintptr, advice uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, size, advice); errno != 0 {
		return errno
	}
	return nil
}

// inMemory returns how many bytes of the huge page at this address are in memory.
func inMemory(at uintptr) int {
	var pages [hugePage / 4096]byte // enough: pages may also be larger
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, at, hugePage, uintptr(unsafe.Pointer(&pages))); errno != 0 {
		return 0
	}
	n := 0
	for _, p := range pages {
		n += int(p & 1)
	}
	return n * os.Getpagesize()
}

// area is a range of addresses.
type area struct{ from, to uintptr }

// heapAreas returns the parts of the heap that can be read, from a list in the form of /proc/PID/maps: those in the row of
// neighbours without gaps that address lies in, since Go lets the heap grow where it ends.
func heapAreas(maps io.Reader, address uintptr) ([]area, error) {
	var areas []area
	var end uintptr
	found := false
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var a area
		var access string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &a.from, &a.to, &access); err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		if a.from != end {
			if found {
				break
			}
			areas = areas[:0]
		}
		end = a.to
		found = found || a.from <= address && address < a.to
		if strings.HasPrefix(access, "rw") {
			areas = append(areas, a)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("no area has address %#x", address)
	}
	return areas, nil
}
