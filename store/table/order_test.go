package table

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reader that was stopped after it had found the line of its key looks there when the segment has grown, and the key was written since. It
// has to look again (I6), for a key that is there, one that was deleted and one that is new.
func TestStoppedReader(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		if c.mask == 0 {
			return // it has one line, and never grows
		}
		table := c.open(t, 64<<20)
		w := newWriter(table)
		r := table.Reader("stopped")
		defer r.Close()
		const n = 40
		for i := range n {
			w.set(Spec{Key: key(i)})
		}
		r.Pin()
		defer r.Unpin()
		var lines [2 * n]line
		for i := range lines {
			lines[i] = table.line(table.Hash(key(i)))
		}
		for i := 1000; i < 4000; i++ {
			w.set(Spec{Key: key(i)})
		}
		for i := range n / 2 {
			w.del(key(i))
		}
		for i, l := range lines {
			h := table.Hash(key(i))
			if table.line(h) == l {
				continue
			}
			_, _, _, moved := table.findIn(l, h, key(i))
			require.True(t, moved, "%d", i)
		}
	})
}

// One key that is set and deleted in turn: who finds it absent after having seen a version has to know of a later deletion (I5), or would
// tell what a crash could undo.
func TestAbsentKeyKnowsItsDeletion(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.open(t, 64<<20)
		w := newWriter(table)
		rounds := 20_000
		if race {
			rounds /= 4
		}
		k := []byte("key")
		var done atomic.Bool
		var late atomic.Uint64
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				r := table.Reader("reader")
				defer r.Close()
				h := table.Hash(k)
				for last := uint64(0); !done.Load(); {
					r.Pin()
					for range 64 {
						e := r.Get(h, k)
						seen := r.Seen()
						if e.Exists() {
							last = max(last, e.Version())
						} else if seen <= last && last > 0 {
							late.Add(1)
						}
					}
					r.Unpin()
				}
			})
		}
		for i := range rounds {
			w.set(Spec{Key: k})
			if i%3 == 0 {
				w.many([]Spec{{Key: k, Deleted: true}, {Key: []byte("other")}}, true)
			} else {
				w.del(k)
			}
		}
		done.Store(true)
		readers.Wait()
		require.Zero(t, late.Load())
	})
}
