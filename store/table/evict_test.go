package table

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is asked for between two turns of the hand stays, wherever growth and shrinking have put it meanwhile; what is not goes, all of it.
func TestVictims(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("test")
		defer r.Close()
		r.Other = asFound
		n := 3000
		if c.mask != ^uint64(0) {
			n = 300
		}
		hot := func(i int) bool { return i < n && i%7 == 0 }
		hit := func(i int) { // in each way that counts
			keys, found := [][]byte{key(i), key(0)}, make([]Entry, 2)
			r.Pin()
			defer r.Unpin()
			switch i % 4 {
			case 0:
				r.Get(keys[0])
			case 3:
				r.Live(keys[0])
			case 1:
				r.GetMany(found, keys)
			case 2:
				r.Snapshot(found, keys, nil)
			}
		}
		for i := range n {
			w.set(Spec{Key: key(i), Value: key(i)})
			for j := 0; j <= i; j += max(i/50, 1) {
				if hot(j) {
					hit(j)
				}
			}
		}
		for i := range n {
			if hot(i) {
				hit(i)
			}
		}
		for i := 3 * n; i < 10*n; i++ { // what is asked for and deleted leaves nothing to what takes its place
			w.set(Spec{Key: key(i), Value: key(i)})
			r.get(key(i))
		}
		for i := 3 * n; i < 10*n; i++ {
			w.del(key(i))
		}
		table.Compact(0)           // gives segments fewer lines
		for i := n; i < 3*n; i++ { // nobody asks for these
			w.set(Spec{Key: key(i), Value: key(i)})
		}
		gone := map[string]bool{}
		cold, warm := [Shards]int{}, [Shards]int{}
		for i := range 3 * n {
			if s := ShardOf(table.Hash(key(i))); hot(i) {
				warm[s]++
			} else {
				cold[s]++
			}
		}
		pick := func(sh *Shard, most int) { // some at a time
			for more, before := most, 0; more > 0 && more != before; {
				some := min(more, 1+more%3)
				before = more
				sh.Lock()
				sh.Victims(func(e Entry) bool {
					gone[string(e.Key())] = true
					some, more = some-1, more-1
					return some > 0
				})
				sh.Unlock()
			}
		}
		for i := range Shards {
			pick(table.Shard(i), cold[i])
		}
		for i := range 3 * n {
			require.Equal(t, !hot(i), gone[string(key(i))], fmt.Sprint(i))
		}
		for i := range Shards { // they have had their turn
			pick(table.Shard(i), 2*(cold[i]+warm[i]))
		}
		for i := range n {
			require.True(t, gone[string(key(i))], fmt.Sprint(i))
		}
		require.NoError(t, table.Check(nil))
	})
}
