package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// installFrom puts the state of one store in the place of that of another, as it is walked, in calls of several keys.
func installFrom(t fatal, to, from *Store) {
	require.NoError(t, to.Install(func(load func([]*Entry)) error {
		load([]*Entry{NewTime(0, from.Time())})
		var keys []*Entry
		err := from.Walk(func(e *Entry) error {
			if len(keys) > 50 && string(keys[len(keys)-1].Key()) != string(e.Key()) {
				load(keys)
				keys = nil
			}
			keys = append(keys, e.Clone())
			return nil
		})
		load(keys)
		return err
	}))
}

// scribble proposes random writes, and commits most of them.
func scribble(t *testing.T, s opened, r *fakeReplica, rng *rand.Rand, n int) {
	for i := range n {
		key := []byte(fmt.Sprint(rng.IntN(40)))
		switch rng.IntN(9) {
		case 0:
			_, _, err := s.Del([][]byte{key, []byte(fmt.Sprint(rng.IntN(40)))})
			require.NoError(t, err)
		case 1:
			_, err := s.MSet([]Pair{{key, fmt.Append(nil, i)}, {[]byte("pair"), fmt.Append(nil, i)}})
			require.NoError(t, err)
		case 2:
			_, _, err := s.Purge([][]byte{key})
			require.NoError(t, err)
		case 3:
			s.clock.pass(7)
			s.sweep()
		case 4:
			if s.KeepsHistory() {
				s.proposeForget()
			}
		case 5:
			if s.KeepsHistory() {
				require.NoError(t, s.SetHistory(1+rng.IntN(5), 0))
			}
		default:
			_, err := s.Set(key, make([]byte, rng.IntN(6000)), SetOptions{TTL: uint64(rng.IntN(2) * rng.IntN(50))})
			require.NoError(t, err)
		}
		for range rng.IntN(3) {
			r.commit()
		}
	}
}

// A replica that takes in another's state, while that goes on, and then the records from before it was walked, is like
// it: whatever it held before.
func TestInstall(t *testing.T) {
	for _, m := range masks {
		for _, history := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s, history %d", m.name, history), func(t *testing.T) {
				for seed := range uint64(soak(3, 300)) {
					rng := rand.New(rand.NewPCG(seed, 0))
					o := Options{History: history}
					s, r := openReplica(t, o, m.mask)
					scribble(t, s, r, rng, 100)
					other, old := openReplica(t, o, m.mask)
					scribble(t, other, old, rng, 50)
					old.depose(0)

					from, depth := len(r.log), s.HistoryDepth()
					var wg sync.WaitGroup
					wg.Go(func() { scribble(t, s, r, rand.New(rand.NewPCG(seed, 1)), 100) })
					installFrom(t, other.Store, s.Store)
					wg.Wait()
					for r.commit() {
					}
					if history > 0 {
						require.NoError(t, other.Apply(1, []*Entry{NewDepth(1, depth)}))
					}
					for _, x := range r.log[from:] {
						require.NoError(t, other.Apply(x.version, x.copies()))
					}
					require.Equal(t, walkedAll(t, s.Store), walkedAll(t, other.Store), "seed %d", seed)
					require.Equal(t, s.Store.Time(), other.Store.Time())
					require.Equal(t, s.HistoryDepth(), other.HistoryDepth())
					a, b := s.Store.Stats(), other.Store.Stats()
					require.Equal(t, []uint64{a.Keys, a.ValueBytes, a.History, a.Expiring}, []uint64{b.Keys, b.ValueBytes, b.History, b.Expiring})
					require.NoError(t, other.Check())
				}
			})
		}
	}
}

// takeIn is installFrom, and what a journal does then: it knows that what was installed is durable.
func takeIn(t fatal, to opened, journal *fakeReplica, from opened, other *fakeReplica) {
	installFrom(t, to.Store, from.Store)
	journal.mu.Lock()
	defer journal.mu.Unlock()
	journal.applied = max(journal.applied, other.Durable())
	journal.last = max(journal.last, journal.applied)
}

// What was read while a state was put in the place of another is void, and said to be.
func TestReadsAcrossAnInstall(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	s.put(t, "k", "v")
	require.NoError(t, s.Flush())
	other, follower := openReplica(t, Options{}, fullHash)
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, other.Flush())
	require.NoError(t, other.Begin(ReadMode{}))
	takeIn(t, other, follower, s, r)
	require.Equal(t, "v", text(other.Get([]byte("k"))))
	err := other.Flush()
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorContains(t, err, "replaced")
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, other.Flush())

	// Begin is for all reads behind it, be there a Flush between them; not for those behind a write.
	require.NoError(t, other.Begin(ReadMode{}))
	require.Equal(t, "v", text(other.Get([]byte("k"))))
	require.NoError(t, other.Flush())
	takeIn(t, other, follower, s, r)
	require.Equal(t, "v", text(other.Get([]byte("k"))))
	require.ErrorIs(t, other.Flush(), errReplaced)
	require.ErrorIs(t, errReplaced, ErrReadOnly)
	require.ErrorIs(t, errReplaced, ErrNoMajority, "it passes by itself")
	require.Equal(t, "v", text(other.Get([]byte("k"))))
	require.ErrorIs(t, other.Flush(), errReplaced, "until it begins again")
	other.put(t, "own", "1")
	require.NoError(t, other.Flush())
	require.NoError(t, other.Begin(ReadMode{}))
	require.Equal(t, "1", text(other.Get([]byte("own"))))
	require.NoError(t, other.Flush())

	// Who has written besides is told that this may have been applied, and not to try again.
	require.NoError(t, other.Begin(ReadMode{}))
	require.Equal(t, "1", text(other.Get([]byte("own"))))
	other.put(t, "own", "2")
	takeIn(t, other, follower, s, r)
	err = other.Flush()
	require.ErrorIs(t, err, ErrUnknown)
	require.NotErrorIs(t, err, ErrNoMajority)
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, other.Flush())

	// A transaction that only reads may look, at a node that does not lead, behind Begin, but not behind what that was for.
	follower.depose(0)
	looks := func() error {
		_, _, err := other.Txn(nil, nil, []Op{{Kind: OpGet, Key: []byte("own")}})
		return err
	}
	require.ErrorAs(t, looks(), new(*MovedError))
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, looks())
	require.NoError(t, other.Flush())
	require.ErrorAs(t, looks(), new(*MovedError))

	broken := errors.New("broken")
	walked := other.Walk(func(*Entry) error { return nil })
	require.NoError(t, walked)
	require.ErrorIs(t, other.Install(func(load func([]*Entry)) error {
		require.ErrorIs(t, other.Walk(func(*Entry) error { return nil }), ErrReadOnly)
		require.Zero(t, other.Store.Stats().Keys)
		return broken
	}), broken)
}

// A scan that goes on across an install meets each key that was there throughout exactly once: a key's place stays what it was.
func TestAScanAcrossAnInstall(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			s, r := openReplica(t, Options{}, m.mask)
			other, follower := openReplica(t, Options{}, m.mask)
			for i := range 3000 {
				s.put(t, fmt.Sprint("stays", i), "1")
				if i%3 == 0 {
					s.put(t, fmt.Sprint("goes", i), "1")
				}
			}
			for r.commit() {
			}
			takeIn(t, other, follower, s, r)
			met := map[string]int{}
			var cursor []byte
			for pages := 0; ; pages++ {
				require.NoError(t, other.Begin(ReadMode{}))
				page, err := other.Scan(cursor, ScanOptions{Limit: 500})
				require.NoError(t, err)
				require.NoError(t, other.Flush())
				for _, e := range page.Entries {
					met[string(e.Key())]++
				}
				if cursor = page.Next; cursor == nil {
					break
				}
				if pages%2 == 0 {
					for i := range 60 {
						s.del(t, fmt.Sprint("goes", 3*(pages*60+i)))
						s.put(t, fmt.Sprint("comes", pages*60+i), "1")
					}
					for r.commit() {
					}
					takeIn(t, other, follower, s, r)
				}
			}
			for i := range 3000 {
				require.Equal(t, 1, met[fmt.Sprint("stays", i)])
			}
			for key, n := range met {
				require.Equal(t, 1, n, key)
			}
		})
	}
}

// While states take each other's place, whoever reads sees one of them or is told that he has not; what a view shows
// stays as it is.
func TestReadersWhileStatesAreInstalled(t *testing.T) {
	s, r := openReplica(t, Options{History: 1}, fullHash)
	other, follower := openReplica(t, Options{History: 1}, fullHash)
	keys := [][]byte{[]byte("first"), []byte("second")}
	write := func(i int) {
		_, err := s.MSet([]Pair{{keys[0], fmt.Appendf(make([]byte, 5000), "%06d", i)}, {keys[1], fmt.Appendf(make([]byte, 5000), "%06d", i)}})
		require.NoError(t, err)
		s.put(t, fmt.Sprint(i%100), fmt.Sprint(i))
		for r.commit() {
		}
	}
	write(0)
	takeIn(t, other, follower, s, r)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var good, void atomic.Int64
	forever := func(f func(c *Session)) {
		c := other.Store.Session()
		wg.Go(func() {
			defer c.Close()
			for {
				select {
				case <-stop:
					return
				default:
					f(c)
				}
			}
		})
	}
	forever(func(c *Session) {
		if c.Begin(ReadMode{}) != nil {
			return
		}
		a, b := text(c.Get(keys[0])), text(c.Get(keys[1]))
		if c.Flush() != nil {
			void.Add(1)
			return
		}
		good.Add(1)
		if a > b { // the second was read later
			panic("what was read goes back in time")
		}
	})
	forever(func(c *Session) {
		if c.Begin(ReadMode{}) != nil {
			return
		}
		all := make([]Found, 2)
		v, err := c.MGetView(all, keys, nil)
		if err != nil {
			panic(err)
		}
		defer v.Close()
		runtime.Gosched()
		whole := all[0].Exists() && all[1].Exists() && bytes.Equal(detach(all[0]).Value(), detach(all[1]).Value())
		if c.Flush() == nil && !whole {
			panic("half of a write was seen")
		}
	})
	forever(func(*Session) { other.Store.sweep() })
	forever(func(*Session) { other.Store.Stats() })
	for i := 1; i < soak(30, 2000) || good.Load() < 20; i++ {
		write(i)
		takeIn(t, other, follower, s, r)
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	t.Logf("%d reads, and %d that were void", good.Load(), void.Load())
	require.NoError(t, other.Check())
	require.Equal(t, walkedAll(t, s.Store), walkedAll(t, other.Store))
}
