package arena

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the figures call resident is what the system says, and it falls when chunks are given back.
func TestResidentIsTrue(t *testing.T) {
	if race {
		return // the detector's shadow memory is counted with it
	}
	a := open(t, Options{Range: 1 << 30})
	o := newOwner(t, a, 0)
	for range 100 {
		o.alloc(ChunkSize)
	}
	require.InDelta(t, a.Figures().Resident, resident(t, a), 2*ChunkSize)
	for len(o.all) > 0 {
		o.free(len(o.all) - 1)
	}
	require.Positive(t, a.Scavenge(true))
	require.InDelta(t, a.Figures().Resident, resident(t, a), 2*ChunkSize)
	require.LessOrEqual(t, a.Figures().Resident, int64(4*ChunkSize))
	require.True(t, o.alloc(50*ChunkSize))
	check(t, a, o)
}

// resident reads how much memory the system has given the range.
func resident(t *testing.T, a *Arena) (bytes int64) {
	maps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	inside := false
	base := uint64(uintptr(a.base))
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from >= base && to <= base+uint64(a.Figures().Range)
		}
		var kb int64
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kb); n == 1 && inside {
			bytes += kb << 10
		}
	}
	return bytes
}

// Where a process may have only so many addresses, the range is smaller.
func TestFewAddresses(t *testing.T) {
	if race {
		return // the detector has terabytes of them
	}
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_AS, &old))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: 8 << 30, Max: old.Max}))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_AS, &old)) }()
	a := open(t, Options{Range: 64 << 30})
	require.Less(t, a.Figures().Range, int64(8<<30))
	require.GreaterOrEqual(t, a.Figures().Range, int64(minReserve))
	require.True(t, newOwner(t, a, 0).alloc(1000))
}
