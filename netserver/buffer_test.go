package netserver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestBuffers: whatever the size of a frame, its buffer has room for it, and not more than twice as much; and it is given
// back to where it came from.
func TestBuffers(t *testing.T) {
	for _, n := range []int{
		workspaceSize + 1, 2*workspaceSize - 1, 2 * workspaceSize, 2*workspaceSize + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1,
		protocol.DefaultLimit, protocol.MaxLimit + 4,
	} {
		size := bufferSize(n)
		require.GreaterOrEqual(t, size, n)
		require.Less(t, size, 2*n)
		require.Less(t, power(n), len(buffers))
		require.Equal(t, power(n), power(size))
	}
	b := append(takeBuffer(100_000), "what a frame left"...)
	giveBuffer(b)
	require.Empty(t, takeBuffer(100_000))
}
