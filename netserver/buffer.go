package netserver

import (
	"math/bits"
	"sync"

	"kv/protocol"
)

// Buffers of large frames have the size of a workspace times a power of two, and are used again. Made anew for each frame,
// they would be garbage faster than the collector comes round, whatever is claimed.
var buffers [16]sync.Pool // of *[]byte, by the power

// bufferSize returns the size of the buffers that have room for n bytes.
func bufferSize(n int) int { return workspaceSize << power(n) }

func power(n int) int { return bits.Len(uint(n-1) / workspaceSize) }

// largestFrame is the size of the longest frame for which a pool of so many bytes has room: while its last buffer is filled,
// the one before it is still there.
func largestFrame(memory int64) int {
	size := bufferSize(protocol.MaxLimit)
	for size > workspaceSize && int64(size)+int64(size)/2 > memory {
		size /= 2
	}
	return size
}

// takeBuffer returns an empty buffer with room for n bytes, at most twice as much.
func takeBuffer(n int) []byte {
	if b, ok := buffers[power(n)].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, bufferSize(n))
}

// giveBuffer takes back what takeBuffer returned, with whatever is in it.
func giveBuffer(b []byte) { buffers[power(cap(b))].Put(&b) }
