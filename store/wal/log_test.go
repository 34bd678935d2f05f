package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// node is a store on a log.
type node struct {
	log *wal.Log
	st  *store.Store
	s   *store.Session
}

func start(fs vfs.FS, o wal.Options, so store.Options) (*node, error) {
	o.FS, o.Dir = fs, "/data"
	if o.Logger == nil {
		o.Logger = quiet
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 50_000 // a file system in memory is slow to copy
	}
	log, err := wal.Open(o)
	if err != nil {
		return nil, err
	}
	so.Journal = log
	st, err := store.Open(so)
	if err != nil {
		log.Close()
		return nil, err
	}
	log.Attach(st)
	return &node{log, st, st.Session()}, nil
}

func mustStart(t testing.TB, fs vfs.FS, o wal.Options, so store.Options) *node {
	n, err := start(fs, o, so)
	require.NoError(t, err)
	return n
}

func (n *node) stop() error {
	n.st.Close()
	return n.log.Close()
}

func (n *node) set(t testing.TB, key, value string) uint64 {
	v, err := n.s.Set([]byte(key), []byte(value), store.SetOptions{})
	require.NoError(t, err)
	return v
}

// state is all that a store shows: the entries that Walk gives, by key, oldest first.
func state(t testing.TB, st *store.Store) map[string]string {
	all := map[string]string{}
	require.NoError(t, st.Walk(func(e *store.Entry) error {
		all[string(e.Key())] += fmt.Sprintf("%d %t %d %.20q %d;", e.Version(), e.Deleted(), e.Expiry(), e.Value(), crc32.ChecksumIEEE(e.Value()))
		return nil
	}))
	return all
}

func TestRestart(t *testing.T) {
	for _, policy := range []wal.Policy{wal.Always, wal.Interval, wal.Never} {
		for _, history := range []int{0, 3} {
			t.Run(fmt.Sprintf("%v, history %d", policy, history), func(t *testing.T) {
				fs := vfstest.NewMem()
				o := wal.Options{Sync: policy, RotateBytes: 2000}
				so := store.Options{History: history}
				n := mustStart(t, fs, o, so)
				var last uint64
				for round := range 4 {
					for i := range 60 {
						last = n.set(t, fmt.Sprint("key", i%20), fmt.Sprint("value", i, round))
					}
					_, _, err := n.s.Del([][]byte{[]byte("key3"), []byte("key4")})
					require.NoError(t, err)
					_, err = n.s.Set([]byte("lock"), []byte("me"), store.SetOptions{TTL: 1e9})
					require.NoError(t, err)
					_, err = n.s.MSet([]store.Pair{{Key: nil, Value: nil}, {Key: []byte("large"), Value: bytes.Repeat([]byte("x"), 100_000)}})
					require.NoError(t, err)
					if round%2 == 1 {
						_, _, err := n.log.Snapshot(context.Background())
						require.NoError(t, err)
						n.set(t, "after", "snapshot")
					}
					require.NoError(t, n.s.Flush())
					before := state(t, n.st)
					require.NoError(t, n.stop())
					fs = fs.Crash(0, rand.New(rand.NewPCG(0, 0)))
					n = mustStart(t, fs, o, so)
					require.Equal(t, before, state(t, n.st))
					require.Greater(t, n.set(t, "new", "one"), last)
					_, _, err = n.s.Del([][]byte{[]byte("new")})
					require.NoError(t, err)
				}
				require.NoError(t, n.stop())
			})
		}
	}
}

// TestOneCoreSharesSyncs: on one core too, those that write side by side share a sync. The flusher is woken by the first to
// append and would run before the others, had it not let them go first.
func TestOneCoreSharesSyncs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	log, err := wal.Open(wal.Options{FS: vfstest.NewMem(), Dir: "/data", Logger: quiet})
	require.NoError(t, err)
	st, err := store.Open(store.Options{Journal: log})
	require.NoError(t, err)
	const sessions, writes = 50, 40
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			c := st.Session()
			defer c.Close()
			for range writes {
				_, err := c.Set(fmt.Append(nil, i), nil, store.SetOptions{})
				assert.NoError(t, err)
				assert.NoError(t, c.Flush())
			}
		})
	}
	wg.Wait()
	require.Less(t, int(log.Stats().Syncs), sessions*writes/5)
	require.NoError(t, st.Close())
	require.NoError(t, log.Close())
}

// Small writes and large ones share batches, in their order.
func TestWritesOfAllSizes(t *testing.T) {
	mem := vfstest.NewMem()
	n := mustStart(t, mem, wal.Options{Sync: wal.Never}, store.Options{})
	rng := rand.New(rand.NewPCG(1, 1))
	sizes := []int{0, 1, 4000, 4050, 4060, 4100, 5000, 16 << 10, 70_000}
	for i := range 2000 {
		n.set(t, fmt.Sprint("k", rng.IntN(20)), fmt.Sprint(i, strings.Repeat("x", sizes[rng.IntN(len(sizes))])))
	}
	want := state(t, n.st)
	require.NoError(t, n.stop())
	n = mustStart(t, mem, wal.Options{}, store.Options{})
	require.Equal(t, want, state(t, n.st))
	require.NoError(t, n.stop())
}

// Each sync that made writes durable is told; the age of the newest snapshot counts from when it was taken, and from the
// start before that.
func TestSyncsAndSnapshotAge(t *testing.T) {
	syncs := make(chan time.Duration, 1000)
	before := time.Now()
	n := mustStart(t, vfstest.NewMem(), wal.Options{Sync: wal.Always, SnapshotBytes: -1, Synced: func(took time.Duration) { syncs <- took }}, store.Options{})
	for i := range 10 {
		n.set(t, fmt.Sprint(i), "value")
		require.NoError(t, n.s.Flush())
	}
	require.EqualValues(t, n.log.Stats().Syncs, len(syncs))
	require.GreaterOrEqual(t, len(syncs), 10)
	age := n.log.Stats().SnapshotAge
	require.Positive(t, age)
	require.LessOrEqual(t, age, time.Since(before))

	before = time.Now()
	_, _, err := n.log.Snapshot(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, n.log.Stats().SnapshotAge, time.Since(before))
	require.NoError(t, n.stop())
}
