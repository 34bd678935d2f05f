package netserver

import (
	"math/bits"
	"sync"
)

// Buffers of large frames have the size of a workspace times a power of two, and are used again. Made anew for each frame,
// they would be garbage faster than the collector comes round, whatever is claimed.
var buffers [16]sync.Pool // of *[]byte, by the power

// bufferSize returns the size of the buffers that have room for n bytes.
func bufferSize(n int) int { return workspaceSize << power(n) }

func power(n int) int { return bits.Len(uint(n-1) / workspaceSize) }

// takeBuffer returns an empty buffer with room for n bytes, at most twice as much.
func takeBuffer(n int) []byte {
	if b, ok := buffers[power(n)].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, bufferSize(n))
}

// giveBuffer takes back what takeBuffer returned, with whatever is in it.
func giveBuffer(b []byte) { buffers[power(cap(b))].Put(&b) }
