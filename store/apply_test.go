package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// applied returns an open store that records were applied to, some of them again.
func applied(t *rapid.T, records []record, keep int, mask uint64) *Store {
	s := openTest(t, Options{History: keep, MaxMemory: 100_000}, mask).Store // refuses nothing
	for i := 0; i < len(records); i++ {
		require.NoError(t, s.Apply(records[i].version, records[i].copies()))
		if rapid.IntRange(0, 20).Draw(t, "again") == 0 {
			for k := rapid.IntRange(0, i).Draw(t, "from"); k <= i; k++ {
				require.NoError(t, s.Apply(records[k].version, records[k].copies()))
			}
		}
	}
	return s
}

// feeding is a journal that gives each record to a store as it is appended, in a goroutine of its own.
type feeding struct {
	*fakeJournal
	records chan record
}

func (j feeding) Append(floor uint64, entries []*Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = max(j.last, floor) + 1
	j.records <- record{j.last, Clones(entries)} // in the order of versions
	return j.last, nil
}

// A follower's readers see each transaction whole or not at all, and never go back, while it is applied.
func TestApplyIsSeenWhole(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			j := feeding{newFakeJournal(), make(chan record, 100)}
			leader := openTest(t, Options{Journal: j, History: 2}, m.mask)
			follower := openTest(t, Options{History: 2}, m.mask)
			keys := keysOf("a", "b", "c", "d", "e")
			var writers, all sync.WaitGroup
			over := make(chan struct{})
			for w := range 3 {
				writers.Go(func() {
					s := leader.Store.Session()
					defer s.Close()
					rng := rand.New(rand.NewPCG(uint64(w), 0))
					for i := range 400 {
						var err error
						switch rng.IntN(4) {
						case 0:
							_, _, err = s.Del(keys)
						case 1:
							_, err = s.Set([]byte(fmt.Sprint(rng.IntN(50))), make([]byte, rng.IntN(6000)), SetOptions{})
						default:
							var pairs []Pair
							for _, k := range keys {
								pairs = append(pairs, Pair{k, fmt.Append(nil, w, " ", i)})
							}
							_, err = s.MSet(pairs)
						}
						assert.NoError(t, err)
					}
				})
			}
			all.Go(func() {
				for r := range j.records {
					assert.NoError(t, follower.Apply(r.version, r.copies()))
				}
				close(over)
			})
			for range 3 {
				all.Go(func() {
					s := follower.Store.Session()
					defer s.Close()
					newest := uint64(0)
					for {
						select {
						case <-over:
							return
						default:
						}
						got := s.MGet(nil, keys)
						for _, e := range got {
							if (e == nil) != (got[0] == nil) || e != nil && e.Version() != got[0].Version() {
								assert.Fail(t, "half of a transaction")
								return
							}
						}
						if e := got[0]; e != nil {
							assert.GreaterOrEqual(t, e.Version(), newest)
							newest = e.Version()
						}
					}
				})
			}
			writers.Wait()
			close(j.records)
			all.Wait()
			for _, k := range append(keys, keysOf("1", "7", "40")...) {
				require.Equal(t, leader.History(nil, k, 0), follower.History(nil, k, 0))
			}
			a, b := leader.Store.Stats(), follower.Store.Stats()
			require.Equal(t, []uint64{a.Keys, a.ValueBytes, a.History}, []uint64{b.Keys, b.ValueBytes, b.History})
		})
	}
}

// What is applied expires by its time, and versions that are given later are above it.
func TestApplyExpiresAndRaisesVersions(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	version := uint64(fakeStart + 1_000_000)
	e := NewEntry(version, []byte("k"), []byte("v"), (fakeStart+5_000_000)/1000, false)
	require.NoError(t, s.Apply(version, []*Entry{e}))
	require.Equal(t, "v", text(s.Get([]byte("k"))))
	require.Greater(t, s.put(t, "other", ""), version)
	s.clock.pass(5001)
	require.Nil(t, s.Get([]byte("k")))
	s.sweep()
	require.EqualValues(t, 1, s.Stats().Keys)
	require.NoError(t, s.Apply(version+1, nil), "a write that changed nothing")
	require.NoError(t, s.Store.Close())
	require.True(t, errors.Is(s.Apply(version+2, nil), ErrReadOnly))
}
