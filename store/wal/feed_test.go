package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/backup"
	"kv/store/wal/feed"
)

// Whoever follows a store gets each write behind his begin, whole, once, in the order of versions; and what he does not
// get he can read in the store, as soon as he has begun.
func TestFollow(t *testing.T) {
	type followed interface {
		store.Journal
		Attach(backup.Walker)
		Subscribe(limit int64) (*feed.Subscription, error)
	}
	journals := map[string]func() followed{
		"log": func() followed {
			l, err := wal.Open(wal.Options{FS: vfstest.NewMem(), Dir: "/data", Logger: quiet, SnapshotBytes: -1})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
			return l
		},
		"memory": func() followed { return wal.NewMemory() },
	}
	const writers, writes = 4, 300
	for name, open := range journals {
		t.Run(name, func(t *testing.T) {
			for range seeds(10, 500) {
				j := open()
				_, err := j.Subscribe(1)
				require.Error(t, err, "no store is attached")
				st, err := store.Open(store.Options{Journal: j})
				require.NoError(t, err)
				j.Attach(st)
				var written [writers][]uint64 // versions, by writer
				var wg, done sync.WaitGroup
				for w := range writers {
					done.Add(1)
					wg.Go(func() {
						defer done.Done()
						s := st.Session()
						defer s.Close()
						for i := range writes {
							v, err := s.MSet([]store.Pair{
								{Key: fmt.Append(nil, "a", w), Value: fmt.Append(nil, i)},
								{Key: fmt.Append(nil, "b", w), Value: fmt.Append(nil, i)},
							})
							assert.NoError(t, err)
							written[w] = append(written[w], v)
						}
					})
				}
				type follower struct {
					from uint64
					seen [writers]uint64 // versions of the writers' keys, as read when it had begun
					got  []feed.Record
				}
				followers := make([]follower, 6)
				for i := range followers {
					wg.Go(func() {
						f := &followers[i]
						s := st.Session()
						defer s.Close()
						rng := rand.New(rand.NewPCG(uint64(i), 0))
						for range rng.IntN(3) { // others that come and go
							sub, err := j.Subscribe(1 << 20)
							assert.NoError(t, err)
							_, err = sub.Take()
							assert.NoError(t, err)
							sub.Close()
						}
						sub, err := j.Subscribe(1 << 20)
						assert.NoError(t, err)
						defer sub.Close()
						f.from = sub.From
						for w := range writers {
							if e := s.Get(fmt.Append(nil, "a", w)); e != nil {
								f.seen[w] = e.Version()
							}
						}
						ctx, cancel := context.WithCancel(context.Background())
						go func() { done.Wait(); cancel() }()
						for err = nil; err == nil; {
							var records []feed.Record
							records, err = sub.Next(ctx)
							f.got = append(f.got, records...)
						}
						assert.ErrorIs(t, err, context.Canceled)
						records, err := sub.Take()
						assert.NoError(t, err)
						f.got = append(f.got, records...)
					})
				}
				wg.Wait()
				all := slices.Sorted(slices.Values(slices.Concat(written[:]...)))
				for _, f := range followers {
					from, _ := slices.BinarySearch(all, f.from+1)
					var got []uint64
					for _, r := range f.got {
						got = append(got, r.Version)
						require.Len(t, r.Entries, 2)
						require.Equal(t, r.Entries[0].Value(), r.Entries[1].Value())
					}
					require.Equal(t, len(all[from:]), len(got))
					require.True(t, slices.Equal(all[from:], got), "all that was written behind its begin, in order")
					for w := range writers {
						for _, v := range written[w] {
							require.False(t, f.seen[w] < v && v <= f.from, "version %d can't be read, and does not come", v)
						}
					}
				}
				require.NoError(t, st.Close())
			}
		})
	}
}

// A follower that takes nothing holds nobody up, and is told.
func TestFollowerFallsBehind(t *testing.T) {
	n := mustStart(t, vfstest.NewMem(), wal.Options{Sync: wal.Never, SnapshotBytes: -1}, store.Options{})
	n.log.Attach(n.st)
	sub, err := n.log.Subscribe(10_000)
	require.NoError(t, err)
	for i := range 1000 {
		n.set(t, "key", fmt.Sprint(i))
	}
	_, err = sub.Next(context.Background())
	require.True(t, errors.Is(err, feed.ErrBehind))
	sub.Close()
	require.NoError(t, n.stop())
}
