package wal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/folder"
	"kv/store/wal/tool"
)

// Where the next log file can't be begun, whatever call it is that fails, the log goes on in the one it has; a crash then loses
// nothing; and when the cause is gone, the next file is begun.
func TestRotationFails(t *testing.T) {
	for _, failing := range []string{"create", "write", "sync", "rename", "syncdir", "truncate", "remove"} {
		t.Run(failing, func(t *testing.T) {
			mem := vfstest.NewMem()
			var bad atomic.Bool
			begun := fickle{}
			inject := &vfstest.Inject{FS: mem, Before: func(_ int64, op, name string) error {
				beginning := begun.named != nil && !begun.named[name] && strings.HasSuffix(name, ".tmp")
				begun.fail(op, name, false)
				if bad.Load() && op == failing && (beginning || op == "syncdir" || op == "truncate") {
					return syscall.EMFILE
				}
				if bad.Load() && op == "remove" { // nothing is tidied up
					return syscall.EMFILE
				}
				return nil
			}}
			o := wal.Options{Sync: wal.Always, RotateBytes: 1000, SnapshotBytes: -1, ReserveBytes: 5000, Retry: time.Nanosecond}
			n := mustStart(t, inject, o, store.Options{})
			want := map[string]string{}
			set := func(i int) {
				key, value := fmt.Sprint("k", i%7), strings.Repeat("x", 50+i)
				n.set(t, key, value)
				require.NoError(t, n.s.Flush())
				want[key] = value
			}
			for i := range 20 {
				set(i)
			}
			bad.Store(true)
			before := n.log.Stats()
			for i := range 100 {
				set(i)
				if i%10 == 0 {
					for _, percent := range []int{0, 50, 100} {
						state, _, err := recovered(mem.Crash(percent, rand.New(rand.NewPCG(uint64(i), 1))), o)
						require.NoError(t, err)
						require.Equal(t, want, state)
					}
				}
			}
			require.NoError(t, n.log.Refusing())
			after := n.log.Stats()
			if harmless := failing == "truncate" || failing == "remove"; harmless {
				require.Zero(t, after.RotationsFailed)
			} else {
				require.Positive(t, after.RotationsFailed)
				require.Zero(t, after.SnapshotsFailed)
				_, _, err := n.log.Snapshot(context.Background())
				require.ErrorIs(t, err, syscall.EMFILE)
				require.EqualValues(t, 1, n.log.Stats().SnapshotsFailed)
				require.Greater(t, n.log.Stats().SinceSnapshot, before.SinceSnapshot, "what no snapshot covers is still counted")
			}

			bad.Store(false)
			for i := range 100 {
				set(i)
			}
			require.Greater(t, n.log.Stats().LogFiles, before.LogFiles)
			_, _, err := n.log.Snapshot(context.Background())
			require.NoError(t, err)
			require.NoError(t, n.stop())
			state, _, err := recovered(mem.Crash(0, nil), o)
			require.NoError(t, err)
			require.Equal(t, want, state)
		})
	}
}

// A folder that is moved away from under a log keeps what is written; moved back, it is as if nothing had been.
func TestMovedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	log, err := wal.Open(wal.Options{Dir: dir, Sync: wal.Always, RotateBytes: 1000, SnapshotBytes: -1, Retry: time.Nanosecond, Logger: quiet})
	require.NoError(t, err)
	st, err := store.Open(store.Options{Journal: log})
	require.NoError(t, err)
	log.Attach(st)
	s := st.Session()
	set := func(i int) {
		_, err := s.Set(fmt.Append(nil, i), make([]byte, 100), store.SetOptions{})
		require.NoError(t, err)
		require.NoError(t, s.Flush())
	}
	set(0)
	require.NoError(t, os.Rename(dir, dir+"2"))
	for i := range 50 {
		set(i)
	}
	require.Positive(t, log.Stats().RotationsFailed)
	_, _, err = log.Snapshot(context.Background())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, log.Refusing())
	require.NoError(t, os.Rename(dir+"2", dir))
	_, _, err = log.Snapshot(context.Background())
	require.NoError(t, err)
	set(50)
	s.Close()
	require.NoError(t, st.Close())
	require.NoError(t, log.Close())
	report, err := tool.Check(vfs.OS, dir)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
}

// A snapshot that fails again and again is tried again later each time, not with each write.
func TestSnapshotBacksOff(t *testing.T) {
	var tries atomic.Int64
	inject := &vfstest.Inject{FS: vfstest.NewMem(), Before: func(_ int64, op, name string) error {
		if op == "create" && strings.Contains(name, "snapshot-") {
			tries.Add(1)
			return syscall.EMFILE
		}
		return nil
	}}
	n := mustStart(t, inject, wal.Options{SnapshotBytes: 1000, Retry: time.Hour}, store.Options{})
	for range 200 {
		n.set(t, "k", strings.Repeat("x", 100))
		require.NoError(t, n.s.Flush())
	}
	require.Eventually(t, func() bool { return tries.Load() > 0 }, time.Minute, time.Millisecond)
	for range 200 {
		n.set(t, "k", strings.Repeat("x", 100))
		require.NoError(t, n.s.Flush())
	}
	require.EqualValues(t, 1, tries.Load())
	require.NoError(t, n.stop())
}

// After an orderly end a log that has lost any part of its tail is damaged, whatever the policy; and an end that follows no write
// adds no file.
func TestOrderlyEndIsProven(t *testing.T) {
	for _, policy := range []wal.Policy{wal.Always, wal.Interval, wal.Never} {
		mem := vfstest.NewMem()
		o := wal.Options{Sync: policy, SnapshotBytes: -1, ReserveBytes: 1000}
		n := mustStart(t, mem, o, store.Options{})
		for i := range 30 {
			n.set(t, fmt.Sprint(i), "value")
		}
		require.NoError(t, n.stop())
		for range 3 {
			n = mustStart(t, mem, o, store.Options{})
			require.EqualValues(t, 2, n.log.Stats().LogFiles)
			require.NoError(t, n.stop())
		}
		const name = "/data/log-0000000000000001"
		data := mem.Snapshot()[name]
		require.Greater(t, len(data), 1000)
		for lost := 1; lost < len(data)-36; lost += seeds(7, 1) {
			m := mem.Crash(100, nil)
			kept := data[: len(data)-lost : len(data)-lost]
			for what, cut := range map[string][]byte{"cut": kept, "zeros": append(kept, make([]byte, lost)...)} {
				m.WriteFile(name, cut)
				_, _, err := recovered(m.Crash(100, nil), o)
				var damage *folder.DamageError
				require.ErrorAs(t, err, &damage, "%v, %s: %d bytes lost", policy, what, lost)
				report, err := tool.Check(m, "/data")
				require.NoError(t, err)
				require.True(t, report.Damaged(), "%v, %s: %d bytes lost", policy, what, lost)
			}
			_, err := tool.Repair(m, "/data")
			require.NoError(t, err)
			_, _, err = recovered(m, o)
			require.NoError(t, err)
		}
	}
}
