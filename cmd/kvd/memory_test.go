package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCollectorPercent(t *testing.T) {
	for _, tt := range []struct {
		live    uint64
		percent int
	}{
		{0, 400}, {1 << 20, 400}, {10 << 20, 200}, {20 << 20, 100}, {40 << 20, 50}, {160 << 20, 13}, {1 << 40, 13}, {math.MaxUint64, 13},
	} {
		require.Equal(t, tt.percent, collectorPercent(tt.live), "%d bytes", tt.live)
	}
}

// TestTuneCollector: GOGC follows the heap, and is what it was afterwards.
func TestTuneCollector(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	runtime.GC()
	stop := tuneCollector(slog.New(slog.DiscardHandler))
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	require.Equal(t, 400, percent())

	live := make([]byte, 200<<20)
	require.Eventually(t, func() bool { runtime.GC(); return percent() == 13 }, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(live)
	live = nil
	require.Eventually(t, func() bool { runtime.GC(); return percent() > 100 }, 10*time.Second, time.Millisecond)

	stop()
	require.Equal(t, 100, percent())
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1))
}

// TestGrantedMemory: the least of what the machine has and what each control group above the process grants.
func TestGrantedMemory(t *testing.T) {
	root := t.TempDir()
	groups := filepath.Join(root, "cgroup")
	require.NoError(t, os.WriteFile(groups, []byte("4:memory:/docker/x\n1:name=systemd:/y\n0::/a/b\n"), 0o600))
	require.Equal(t, []string{
		filepath.Join(root, "memory/docker/x/memory.limit_in_bytes"),
		filepath.Join(root, "memory/docker/memory.limit_in_bytes"),
		filepath.Join(root, "memory/memory.limit_in_bytes"),
		filepath.Join(root, "a/b/memory.max"),
		filepath.Join(root, "a/memory.max"),
		filepath.Join(root, "memory.max"),
	}, groupLimits(groups, root))
	require.Empty(t, groupLimits(filepath.Join(root, "missing"), root))

	meminfo := filepath.Join(root, "meminfo")
	require.NoError(t, os.WriteFile(meminfo, []byte("MemFree: 5 kB\nMemTotal:       1024 kB\n"), 0o600))
	n, ok := meminfoTotal(meminfo)
	require.True(t, ok)
	require.EqualValues(t, 1<<20, n)
	require.Positive(t, grantedMemory())
}

// TestLimitHeap: GOMEMLIMIT is above the store's limit, and is what it was afterwards.
func TestLimitHeap(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(123)
	defer debug.SetGCPercent(percent)
	undo := limitHeap(1 << 30)
	require.EqualValues(t, (1<<30)/100*125, debug.SetMemoryLimit(-1))
	undo()
	require.Equal(t, 123, debug.SetGCPercent(123))
	require.Equal(t, before, debug.SetMemoryLimit(-1))
	limitHeap(math.MaxInt64)()
	require.Equal(t, before, debug.SetMemoryLimit(-1))
}
