package wal_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

// A sync that failed is never tried again; what waited for it and what comes later fails, what was durable can be read.
func TestFailedSyncIsFinal(t *testing.T) {
	mem := vfstest.NewMem()
	inject := &vfstest.Inject{FS: mem}
	failed := make(chan error, 1)
	n := mustStart(t, inject, wal.Options{Sync: wal.Always, Failed: func(err error) { failed <- err }}, store.Options{})
	v := n.set(t, "a", "1")
	require.NoError(t, n.s.Flush())
	require.NoError(t, n.log.Failed())

	var after atomic.Int32
	var bad atomic.Bool
	inject.Before = func(_ int64, op, _ string) error {
		if bad.Load() {
			after.Add(1)
		}
		if op == "sync" {
			bad.Store(true)
			return syscall.EIO
		}
		return nil
	}
	n.set(t, "b", "2")
	err := n.s.Flush()
	require.ErrorIs(t, err, store.ErrReadOnly)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "log-0000000000000001")
	require.ErrorIs(t, <-failed, syscall.EIO)
	require.ErrorIs(t, n.log.Failed(), syscall.EIO)
	require.Equal(t, v, n.log.Durable())

	require.ErrorIs(t, n.log.Admit(0), syscall.EIO)
	_, err = n.log.Append(0, nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, n.log.Sync(), syscall.EIO)
	_, _, err = n.log.Snapshot(context.Background())
	require.ErrorIs(t, err, syscall.EIO)
	_, err = n.s.Set([]byte("c"), nil, store.SetOptions{})
	require.ErrorIs(t, err, store.ErrReadOnly)

	require.Equal(t, "1", string(n.s.Get([]byte("a")).Value()))
	require.NoError(t, n.s.Flush(), "what was durable is")
	n.s.Get([]byte("b"))
	require.ErrorIs(t, n.s.Flush(), syscall.EIO, "a read does not show what a crash may undo")
	require.ErrorIs(t, n.stop(), syscall.EIO)
	require.Zero(t, after.Load())
}

// Whoever waits for a sync that fails is told so, however his wait and the failure lie: who wrote, who asked for the
// sync, and the snapshot that relies on it.
func TestFailedSyncReachesAll(t *testing.T) {
	for round := range seeds(200, 5000) {
		var bad atomic.Bool
		inject := &vfstest.Inject{FS: vfstest.NewMem(), Before: func(_ int64, op, name string) error {
			if bad.Load() && op == "sync" && strings.HasPrefix(filepath.Base(name), "log-") {
				return syscall.EIO
			}
			return nil
		}}
		policy := wal.Policy(round % 2)
		n := mustStart(t, inject, wal.Options{Sync: policy, SnapshotBytes: -1, ReserveBytes: 1000}, store.Options{})
		bad.Store(true)
		n.set(t, "k", "v") // so there is something to sync, whoever comes first
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				s := n.st.Session()
				defer s.Close()
				for {
					_, err := s.Set([]byte("k"), nil, store.SetOptions{})
					if err == nil && policy == wal.Always {
						err = s.Flush()
						assert.Error(t, err, "acknowledged")
					}
					if err != nil {
						assert.ErrorIs(t, err, syscall.EIO)
						return
					}
				}
			})
		}
		wg.Go(func() {
			_, _, err := n.log.Snapshot(context.Background())
			assert.ErrorIs(t, err, syscall.EIO)
		})
		for range 2 {
			wg.Go(func() { assert.ErrorIs(t, n.log.Sync(), syscall.EIO) })
		}
		wg.Wait()
		require.ErrorIs(t, n.stop(), syscall.EIO)
	}
}

// After a sync that failed, the system shows bytes that are not on the disk and never will be. A start that reads them must
// write them again before it promises anything: what it shows is there after the next crash.
func TestStartAfterFailedSync(t *testing.T) {
	mem := vfstest.NewMem()
	inject := &vfstest.Inject{FS: mem}
	n := mustStart(t, inject, wal.Options{Sync: wal.Always}, store.Options{})
	n.set(t, "a", "1")
	require.NoError(t, n.s.Flush())
	inject.Before = func(_ int64, op, name string) error {
		if op != "sync" {
			return nil
		}
		mem.FailSync(strings.TrimSuffix(name, ".tmp")) // it was made under that name
		return syscall.EIO
	}
	n.set(t, "b", "2")
	require.ErrorIs(t, n.s.Flush(), syscall.EIO)
	require.Error(t, n.stop())

	n = mustStart(t, mem, wal.Options{Sync: wal.Always}, store.Options{})
	require.NotNil(t, n.s.Get([]byte("b")), "the system still shows it")
	require.NoError(t, n.s.Flush())
	for _, percent := range []int{0, 100} {
		state, _, err := recovered(mem.Crash(percent, nil), wal.Options{})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a": "1", "b": "2"}, state)
	}
	require.NoError(t, n.stop())
}
