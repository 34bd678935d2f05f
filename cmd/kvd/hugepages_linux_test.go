package main

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestHeapAreas(t *testing.T) {
	const maps = `00400000-00689000 r-xp 00000000 fe:00 9977947                            /usr/bin/kvd
22f6e0000000-22f6e1000000 ---p 00000000 00:00 0
22f6e1000000-22f6e1800000 rw-p 00000000 00:00 0
22f6e1800000-22f6e4000000 ---p 00000000 00:00 0
22f6e4000000-22f6e4400000 rw-p 00000000 00:00 0                          [anon: Go: heap]
7efe80000000-7efe80021000 rw-p 00000000 00:00 0
`
	areas, err := heapAreas(strings.NewReader(maps), 0x22f6e1234560)
	require.NoError(t, err)
	require.Equal(t, []area{{0x22f6e1000000, 0x22f6e1800000}, {0x22f6e4000000, 0x22f6e4400000}}, areas)

	_, err = heapAreas(strings.NewReader(maps), 0x1000)
	require.ErrorContains(t, err, "no area has address 0x1000")
	_, err = heapAreas(strings.NewReader("rubbish\n"), 0x1000)
	require.ErrorContains(t, err, `line "rubbish"`)
}

// TestHugePages: this process's own heap is found and moved, with nothing in it changed.
func TestHugePages(t *testing.T) {
	heap := make([]byte, 32<<20)
	for i := range heap {
		heap[i] = byte(i * 7)
	}
	var p hugePages
	address := uintptr(unsafe.Pointer(&heap[len(heap)/2]))
	require.NoError(t, p.cover(address))
	require.NoError(t, p.cover(address))
	for i := range heap {
		if heap[i] != byte(i*7) {
			t.Fatalf("byte %d changed", i)
		}
	}
	maps, err := os.Open("/proc/self/maps")
	require.NoError(t, err)
	defer maps.Close()
	areas, err := heapAreas(maps, address)
	require.NoError(t, err)
	for at := range p.moved {
		inside := false
		for _, a := range areas {
			inside = inside || a.from <= at && at+hugePage <= a.to
		}
		require.True(t, inside, "%#x was moved and is not in the heap", at)
	}
	runtime.KeepAlive(heap)
}

// TestGivenBackStaysSo: memory that was never touched, or was given back, does not count, and so is not taken again.
func TestGivenBackStaysSo(t *testing.T) {
	memory, err := unix.Mmap(-1, 0, 2*hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer unix.Munmap(memory)
	at := (uintptr(unsafe.Pointer(&memory[0])) + hugePage - 1) &^ (hugePage - 1)
	page := memory[at-uintptr(unsafe.Pointer(&memory[0])):][:hugePage]
	require.NoError(t, unix.Madvise(memory, unix.MADV_NOHUGEPAGE))
	require.Zero(t, inMemory(at))
	clear(page[:hugePage/2])
	require.Equal(t, hugePage/2, inMemory(at))
	require.Zero(t, inMemory(0))
}
