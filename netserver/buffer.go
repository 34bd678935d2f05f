package netserver

import (
	"math/bits"
	"sync"
)

// Buffers of large frames come in sizes that are a quarter of a power of two apart, and are used again. Made anew for each
// frame, they would be garbage faster than the collector comes round, whatever is claimed.
var buffers [56]sync.Pool // of *[]byte, by class

// bufferUnit divides the size of every buffer. The smallest has four.
const bufferUnit = workspaceSize / 4

// bufferClass is the place in buffers of those with room for n bytes.
func bufferClass(n int) int {
	last := max(n-1, 0) / bufferUnit
	if last < 4 {
		return 0
	}
	power := bits.Len(uint(last)) - 3
	return 1 + 4*power + last>>power - 4
}

// classSize is the size of a class's buffers.
func classSize(class int) int {
	if class == 0 {
		return workspaceSize
	}
	return (5 + (class-1)%4) << ((class - 1) / 4) * bufferUnit
}

// bufferSize returns the size of the buffers that have room for n bytes: a quarter more at most, where that is more than a
// workspace has.
func bufferSize(n int) int { return classSize(bufferClass(n)) }

// takeBuffer returns an empty buffer with room for n bytes.
func takeBuffer(n int) []byte {
	if b, ok := buffers[bufferClass(n)].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, bufferSize(n))
}

// giveBuffer takes back what takeBuffer returned, with whatever is in it.
func giveBuffer(b []byte) { buffers[bufferClass(cap(b))].Put(&b) }

// nextBuffer is how large the buffer of a frame of size bytes is to be when so much of it has come, and more is to: the frame
// halved as often as that leaves room. So the one before the last is half of the last.
func nextBuffer(size, come int) int {
	for size/2 > come && size > 2*workspaceSize {
		size = (size + 1) / 2
	}
	return bufferSize(size)
}

// largestFrame is the longest frame that a pool of so many bytes can ever take: while its last buffer is filled, the one
// before it is still there.
func largestFrame(memory int64) int {
	for class := len(buffers) - 1; class > 0; class-- {
		if size := classSize(class); int64(size)+int64(bufferSize(size/2)) <= memory {
			return size
		}
	}
	return workspaceSize
}
