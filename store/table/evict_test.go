package table

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is asked for between two turns of the hand stays, wherever growth has put it meanwhile; what is not goes, all of it.
func TestVictims(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		n := 3000
		if c.mask != ^uint64(0) {
			n = 300
		}
		hot := func(i int) bool { return i%7 == 0 }
		for i := range n {
			w.set(Spec{Key: key(i), Value: key(i)})
			for j := 0; j <= i; j += max(i/50, 1) {
				if hot(j) {
					r.get(key(j))
				}
			}
		}
		for i := range n {
			if hot(i) {
				require.True(t, r.get(key(i)).Exists())
			}
		}
		gone := map[string]bool{}
		cold := [Shards]int{}
		for i := range n {
			if !hot(i) {
				cold[ShardOf(table.Hash(key(i)))]++
			}
		}
		for i := range Shards {
			if cold[i] == 0 {
				continue
			}
			sh := table.Shard(i)
			sh.Lock()
			sh.Victims(func(e Entry) bool {
				gone[string(e.Key())] = true
				cold[i]--
				return cold[i] > 0
			})
			sh.Unlock()
		}
		for i := range n {
			require.Equal(t, !hot(i), gone[string(key(i))], fmt.Sprint(i))
		}
		require.NoError(t, table.Check(nil))
	})
}
