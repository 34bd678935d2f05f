package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
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
			keys = append(keys, e)
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
		switch rng.IntN(8) {
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
		default:
			_, err := s.Set(key, make([]byte, rng.IntN(6000)), SetOptions{TTL: uint64(rng.IntN(2) * rng.IntN(50))})
			require.NoError(t, err)
		}
		for range rng.IntN(3) {
			r.commit()
		}
	}
}

// A replica that takes in another's state, while that goes on, and then the records from before it was walked, is like it: whatever it held before.
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

					from := len(r.log)
					var wg sync.WaitGroup
					wg.Go(func() { scribble(t, s, r, rand.New(rand.NewPCG(seed, 1)), 100) })
					installFrom(t, other.Store, s.Store)
					wg.Wait()
					for r.commit() {
					}
					for _, x := range r.log[from:] {
						require.NoError(t, other.Apply(x.version, x.copies()))
					}
					require.Equal(t, walkedAll(t, s.Store), walkedAll(t, other.Store), "seed %d", seed)
					require.Equal(t, s.Store.Time(), other.Store.Time())
					a, b := s.Store.Stats(), other.Store.Stats()
					require.Equal(t, []uint64{a.Keys, a.ValueBytes, a.History, a.Expiring}, []uint64{b.Keys, b.ValueBytes, b.History, b.Expiring})
					require.NoError(t, other.Check())
				}
			})
		}
	}
}

// What was read while a state was put in the place of another is void, and said to be.
func TestReadsAcrossAnInstall(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	s.put(t, "k", "v")
	require.NoError(t, s.Flush())
	other, _ := openReplica(t, Options{}, fullHash)
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, other.Flush())
	require.NoError(t, other.Begin(ReadMode{}))
	installFrom(t, other.Store, s.Store)
	require.Equal(t, "v", text(other.Get([]byte("k"))))
	err := other.Flush()
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorContains(t, err, "replaced")
	require.NoError(t, other.Begin(ReadMode{}))
	require.NoError(t, other.Flush())

	broken := errors.New("broken")
	walked := other.Walk(func(*Entry) error { return nil })
	require.NoError(t, walked)
	require.ErrorIs(t, other.Install(func(load func([]*Entry)) error {
		require.ErrorIs(t, other.Walk(func(*Entry) error { return nil }), ErrReadOnly)
		require.Zero(t, other.Store.Stats().Keys)
		return broken
	}), broken)
	_ = r
}
