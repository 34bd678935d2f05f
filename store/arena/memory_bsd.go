//go:build unix && !linux

package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addresses that may not be touched are not backed by anything on these systems.
const mapNoReserve = 0

func advise([]byte, bool) {}

// discard maps new zeros over the old memory: what madvise does differs from one of these systems to the next.
func discard(b []byte) bool {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_FIXED)
	return err == nil
}
