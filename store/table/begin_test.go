package table

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReplacedIsFreed writes one key again and again while nobody reads: of what was replaced so little waits that it
// does not matter, and of large values only the last, since the write behind it frees it.
func TestReplacedIsFreed(t *testing.T) {
	for _, size := range []int{0, 32, 3 << 10, 1 << 20} {
		w := newWriter(config{memory: race}.open(t, 64<<20))
		key := []byte("a key")
		sh := w.t.Shard(ShardOf(w.t.Hash(key)))
		for range 200 {
			w.set(Spec{Key: key, Value: make([]byte, size)})
			w.t.epochs.Hurry() // Reclaim asks for it less often
			sh.Lock()
			waiting := sh.Waiting()
			sh.Unlock()
			require.LessOrEqual(t, waiting, int64(2*mostAsk+size+64), "values of %d bytes", size)
		}
	}
}
