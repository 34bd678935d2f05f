package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

// TestStats recomputes each figure from what is in the folder, and from the calls that the log has made, after each of the
// things that change them.
func TestStats(t *testing.T) {
	mem := vfstest.NewMem()
	var syncs, begun atomic.Int64
	var bad atomic.Bool
	inject := &vfstest.Inject{FS: mem, Before: func(_ int64, op, name string) error {
		isLog := strings.HasPrefix(filepath.Base(name), "log-")
		switch {
		case bad.Load() && op == "create":
			return syscall.EMFILE
		case op == "sync" && isLog:
			syncs.Add(1)
		case op == "create" && isLog:
			begun.Add(1)
		}
		return nil
	}}
	o := wal.Options{Sync: wal.Always, RotateBytes: 2000, SnapshotBytes: -1, ReserveBytes: 10_000, Retry: time.Nanosecond}
	var n *node
	begin := func() {
		syncs.Store(0)
		begun.Store(0)
		n = mustStart(t, inject, o, store.Options{})
	}
	begin()
	failing := false
	var since, torn, rotationsFailed, snapshotsFailed int64 // what Stats must say of what the folder does not show
	check := func(what string) {
		t.Helper()
		require.NoError(t, n.log.Sync(), what)
		var want wal.Stats
		var newest string
		for name, data := range mem.Snapshot() {
			base := filepath.Base(name)
			switch {
			case strings.Contains(base, "."):
			case strings.HasPrefix(base, "snapshot-") && base > newest:
				newest, want.SnapshotBytes = base, int64(len(data))
			case strings.HasPrefix(base, "log-"):
				want.LogFiles++
			}
		}
		for name, data := range mem.Snapshot() {
			base := filepath.Base(name)
			if strings.HasPrefix(base, "log-") && !strings.Contains(base, ".") && strings.TrimPrefix(base, "log-") >= strings.TrimPrefix(newest, "snapshot-") {
				want.SinceSnapshot += int64(len(bytes.TrimRight(data[36:], "\x00")))
			}
		}
		got := n.log.Stats()
		want.LogBytes = got.SinceSnapshot - since
		want.Syncs = syncs.Load() - begun.Load() // each file is synced once before it has its name
		want.SnapshotAge = got.SnapshotAge       // of the clock, not of the folder
		want.TornBytes, want.RotationsFailed, want.SnapshotsFailed = torn, rotationsFailed, snapshotsFailed
		want.SnapshotFailing = failing
		require.Equal(t, want, got, what)
	}
	write := func(writes int) {
		for i := range writes {
			n.set(t, fmt.Sprint(i), "value, of which the last byte is not zero")
			require.NoError(t, n.s.Flush())
		}
	}
	snapshot := func() {
		_, _, err := n.log.Snapshot(context.Background())
		require.NoError(t, err)
		require.Zero(t, n.log.Stats().SinceSnapshot)
		since = -n.log.Stats().LogBytes
	}
	restart := func() {
		require.NoError(t, n.stop())
		begin()
		since = n.log.Stats().SinceSnapshot
		rotationsFailed, snapshotsFailed = 0, 0
	}

	check("a new folder")
	write(10)
	check("writes")
	write(100)
	check("several files")
	require.Greater(t, n.log.Stats().LogFiles, int64(2))
	for range 3 {
		snapshot()
		check("a snapshot")
	}
	restart()
	check("a restart of one log")
	require.EqualValues(t, 1, n.log.Stats().LogFiles)
	write(10)
	restart()
	check("a restart behind writes")
	write(100)
	restart()
	check("a restart of several logs")
	bad.Store(true)
	_, _, err := n.log.Snapshot(context.Background())
	require.ErrorIs(t, err, syscall.EMFILE)
	rotationsFailed, snapshotsFailed, failing = 1, 1, true
	check("a file that can't be begun")
	write(3)
	check("and writes")
	bad.Store(false)
	write(100)
	snapshot()
	failing = false
	write(10)
	check("all well again")

	// A torn tail.
	crashed := mem.Crash(100, nil)
	require.NoError(t, n.stop())
	mem, inject.FS = crashed, crashed
	logs := 0
	var last string
	for name := range mem.Snapshot() {
		if strings.Contains(name, "/log-") {
			logs++
			last = max(last, name)
		}
	}
	data := bytes.TrimRight(mem.Snapshot()[last], "\x00")
	mem.WriteFile(last, data[:len(data)-3])
	begin()
	since, rotationsFailed, snapshotsFailed = n.log.Stats().SinceSnapshot, 0, 0
	for name, data := range mem.Snapshot() {
		if strings.Contains(name, ".torn-") {
			torn = int64(len(data))
		}
	}
	require.Positive(t, torn)
	require.EqualValues(t, logs+1, n.log.Stats().LogFiles)
	require.Equal(t, torn, n.log.Stats().TornBytes)
	require.NoError(t, n.stop())
}
