package netserver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestBuffers: whatever the size of a frame, its buffer has room for it, and not more than a quarter too much; and it is given
// back to where it came from.
func TestBuffers(t *testing.T) {
	for _, n := range []int{
		workspaceSize + 1, 2*workspaceSize - 1, 2 * workspaceSize, 2*workspaceSize + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1,
		protocol.DefaultLimit, protocol.MaxLimit + 4,
	} {
		size := bufferSize(n)
		require.GreaterOrEqual(t, size, n)
		require.LessOrEqual(t, size, n+n/4+1)
		require.Less(t, bufferClass(n), len(buffers))
		require.Equal(t, bufferClass(n), bufferClass(size))
		require.Equal(t, size, classSize(bufferClass(n)))
	}
	require.Equal(t, workspaceSize, bufferSize(1))
	for class := range buffers {
		require.Equal(t, class, bufferClass(classSize(class)))
		require.Equal(t, class+1, bufferClass(classSize(class)+1))
	}
	b := append(takeBuffer(100_000), "what a frame left"...)
	giveBuffer(b)
	require.Empty(t, takeBuffer(100_000))
}

// TestGrowth: a frame's buffers have room for what comes, at most about twice what has come, and the last two of them are what
// largestFrame counts with.
func TestGrowth(t *testing.T) {
	for _, memory := range []int64{64 << 10, 100_000, 512 << 10, 1 << 20, 20 << 20, 1 << 30} {
		most := largestFrame(memory)
		for _, size := range []int{workspaceSize + 1, most/2 + 1, most - 1, most} {
			come, before, held := workspaceSize, 0, 0
			for steps := 0; come < size; steps++ {
				next := nextBuffer(size, come)
				require.Greater(t, next, come)
				require.LessOrEqual(t, next, max(4*workspaceSize, 3*come), "%d of %d have come", come, size)
				held = max(held, before+next)
				come, before = min(next, size), next
				require.Less(t, steps, 20)
			}
			require.LessOrEqual(t, int64(held), max(memory, 3*workspaceSize), "a frame of %d bytes", size)
		}
	}
}
