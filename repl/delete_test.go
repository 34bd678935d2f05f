package repl_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
)

// A server whose memory is full is emptied by all that promises to, without a request that it has no memory for: however
// many keys there are, and however little memory requests have.
func TestEmptyingAFullServer(t *testing.T) {
	const limit = 8 << 20
	for _, request := range []int64{limit / 4, 256 << 10} {
		addr := startServerWith(t, store.Options{MaxMemory: limit}, netserver.Config{RequestMemory: request})
		kv, err := client.Dial(context.Background(), addr, client.Options{})
		require.NoError(t, err)
		defer kv.Close()
		fill := func() (keys int) {
			for {
				var pairs []protocol.Pair
				for i := range 500 {
					pairs = append(pairs, protocol.Pair{Key: fmt.Appendf(nil, "tmp:%d:%012d", (keys+i)%3, keys+i),
						Value: make([]byte, 8)})
				}
				if _, err := kv.MSet(context.Background(), pairs...); err != nil {
					require.True(t, errors.Is(err, protocol.ErrOutOfMemory), "%v", err)
					return keys
				}
				keys += len(pairs)
			}
		}
		for _, way := range [][]string{{"del", "--prefix", "tmp:"}, {"del", "-", "--batch", "100000"}, {"del", "-"}} {
			keys := fill()
			require.Greater(t, keys, 50_000)
			require.Equal(t, fmt.Sprintln(keys), kvc(t, addr, "", "count", "tmp:"))
			stdin := kvc(t, addr, "", "scan", "tmp:")
			require.Equal(t, keys, strings.Count(stdin, "\n"))
			require.Equal(t, fmt.Sprintln(keys), kvc(t, addr, stdin, way...), way)
			require.Equal(t, "0\n", kvc(t, addr, "", "count"))
		}
	}
}
