package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
)

// What is known of writes of an epoch that is over: see Fate.
func TestFate(t *testing.T) {
	var f Fate
	is := func(o Outcome, epoch, first, last uint64) {
		t.Helper()
		require.Equal(t, o, f.Of(epoch, first, last))
	}
	is(Pending, 1, 5, 6)
	require.False(t, f.Before(3), "no epoch is over")
	require.True(t, f.End(1, 3, 5))
	require.False(t, f.End(1, 3, 9), "it has ended")
	is(Applied, 1, 4, 5)
	is(Pending, 1, 5, 6)
	is(Pending, 1, 6, 7)
	is(Pending, 3, 4, 5) // of a later one, which is not over
	f.Published(2, 9)    // of an earlier term
	is(Pending, 1, 5, 6)
	require.False(t, f.Before(3))
	f.Published(3, 6)
	is(Applied, 1, 5, 6)
	is(Pending, 1, 6, 7)
	require.True(t, f.Before(4))
	require.False(t, f.Before(5), "it is decided")
	f.Published(4, 9) // another's, with the same version and more
	is(Applied, 1, 5, 6)
	is(Unknown, 1, 6, 7) // one is, one is not
	is(NotApplied, 1, 7, 7)
	is(NotApplied, 1, 7, 9)

	require.True(t, f.End(3, 6, 20))
	is(Unknown, 1, 4, 5) // that was forgotten
	f.Seal()
	require.False(t, f.Before(7), "what was skipped is not known")
	f.Published(6, 22)
	is(Applied, 3, 19, 20)
	is(Unknown, 3, 21, 22)
}

// batch is writes that are flushed together, with reads between them.
type batch struct {
	keys  []string // that were given versions
	reads map[string]string
	err   error // Flush's
	again bool  // the node led again meanwhile
}

// run does writes with these keys at a node; each fourth is followed by a read of the one before.
func (b *batch) run(s *storeNode, keys []string) (moved bool) {
	c := s.store.Session()
	defer c.Close()
	b.reads = map[string]string{}
	epoch := s.journal.Epoch()
	for i, k := range keys {
		if _, err := c.Set([]byte(k), []byte(k), store.SetOptions{}); err != nil {
			moved = true
			continue
		}
		b.keys = append(b.keys, k)
		if i%4 == 3 && c.Begin(store.ReadMode{}) == nil {
			v, _ := c.AppendValue(nil, []byte(k))
			b.reads[k] = string(v)
		}
	}
	b.err = c.Flush()
	b.again = s.journal.Epoch() > epoch+1
	return moved
}

// While leadership changes all the time, without that anybody is asked to wait, and all nodes are connected: of writes
// that were under way, several flushed together, it becomes known what has become of them. Those that were answered are
// there, and have been seen by the reads between them; those that were said not to have been applied are not. Only of a
// batch that was cut in two nothing is said, or whose node has led again since.
func TestWhatBecomesOfWritesWhenLeadershipIsLost(t *testing.T) {
	all := openStores(t, 3, store.Options{})
	stop := make(chan struct{})
	var nemesis, writers sync.WaitGroup
	nemesis.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(10+rng.IntN(40)) * time.Millisecond):
			}
			for _, s := range all {
				if s.node.Status().Leads {
					s.node.Call(func(c *Core) { c.Transfer(0) })
				}
			}
		}
	})
	var kept, cut, notApplied atomic.Int64
	enough := func() bool { return kept.Load() > 1000 && cut.Load() > 20 && notApplied.Load() > 20 }
	batches := make([][]batch, 6)
	end := time.Now().Add(time.Minute)
	for w := range batches {
		writers.Go(func() {
			for n := 0; !enough() && time.Now().Before(end); n++ {
				var keys []string
				for i := range 1 + n%12 {
					keys = append(keys, fmt.Sprintf("%d.%d.%d", w, n, i))
				}
				var leader *storeNode
				for leader == nil {
					for _, s := range all {
						if s.node.Status().Leads {
							leader = s
						}
					}
				}
				var b batch
				moved := b.run(leader, keys)
				switch {
				case len(b.keys) == 0:
					continue
				case b.err == nil:
					kept.Add(1)
					if moved {
						cut.Add(1) // some were given versions before, and the rest was sent on
					}
				case errors.As(b.err, new(*store.MovedError)):
					notApplied.Add(1)
				default:
					require.ErrorIs(t, b.err, store.ErrUnknown)
				}
				batches[w] = append(batches[w], b)
			}
		})
	}
	writers.Wait()
	close(stop)
	nemesis.Wait()
	unknown, total := 0, 0
	for _, written := range batches {
		for _, b := range written {
			total++
			there := 0
			for _, k := range b.keys {
				if all[0].get(k) == k {
					there++
				}
			}
			switch {
			case b.err == nil:
				require.Len(t, b.keys, there, "answered")
				for k, v := range b.reads {
					require.Equal(t, k, v)
				}
			case errors.As(b.err, new(*store.MovedError)):
				require.Zero(t, there, "said not to have been applied")
			default:
				unknown++
				require.True(t, b.again || 0 < there && there < len(b.keys),
					"%d of %d are there, and that was not known", there, len(b.keys))
			}
		}
	}
	t.Logf("%d batches: %d answered, %d of them after the rest was sent on, %d not applied, %d unknown",
		total, kept.Load(), cut.Load(), notApplied.Load(), unknown)
	require.True(t, enough())
}

// A leader that nobody hears leads no more, and says after a while that it does not know.
func TestNobodyWaitsForEverForWhatBecameOfAWrite(t *testing.T) {
	all := openStores(t, 3, store.Options{})
	old := storeLeader(t, all)
	old.net.cutOff(old.id)
	began := time.Now()
	require.ErrorIs(t, old.set("a", "1", store.SetOptions{}), store.ErrUnknown)
	require.GreaterOrEqual(t, time.Since(began), fateWithin)
}
