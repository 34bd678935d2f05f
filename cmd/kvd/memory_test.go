package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
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
	undo := limitHeap(heapLimit(1<<30, 8<<30))
	require.EqualValues(t, (1<<30)/100*125+32<<20, debug.SetMemoryLimit(-1))
	undo()
	require.Equal(t, 123, debug.SetGCPercent(123))
	require.Equal(t, before, debug.SetMemoryLimit(-1))
	limitHeap(heapLimit(math.MaxInt64, math.MaxInt64))()
	require.Equal(t, before, debug.SetMemoryLimit(-1))
}

// TestHeapShare: GOMEMLIMIT is what the data beside the heap leave, though never next to nothing: of what the process
// may have while data are loaded, of --max-memory then, and between these where what is alive leaves no room for
// garbage.
func TestHeapShare(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	h := newHeapShare(700<<20, 1<<30)
	stop := h.keep()
	require.EqualValues(t, 1<<30, h.limit())
	for _, tt := range []struct{ beside, limit int64 }{{600 << 20, 424 << 20}, {300 << 20, 724 << 20},
		{1 << 30, leastHeap}, {2 << 30, leastHeap}, {0, 1 << 30}} {
		h.beside(tt.beside)
		require.Eventually(t, func() bool { return debug.SetMemoryLimit(-1) == tt.limit }, 10*time.Second, time.Millisecond)
	}
	stop()
	const within = 700<<20 + idleHeap
	for _, tt := range []struct{ beside, needs, limit int64 }{
		{0, 100 << 20, within}, {600 << 20, 100 << 20, within - 600<<20}, {600 << 20, 300 << 20, 300 << 20}, {600 << 20, 500 << 20, 424 << 20},
		{690 << 20, 1, leastHeap}, {2 << 30, 1, leastHeap}, {2 << 30, 2 << 30, leastHeap},
	} {
		h.bytes.Store(tt.beside)
		h.needs.Store(tt.needs)
		require.Equal(t, tt.limit, h.limit(), "%+v", tt)
	}
	h.collected()
	require.Greater(t, h.needs.Load(), int64(roomBytes))
	require.Less(t, h.needs.Load(), int64(roomBytes+100<<20))
}

// TestHeapLimit: GOMEMLIMIT follows --max-memory, and what is granted where that is less.
func TestHeapLimit(t *testing.T) {
	for _, tt := range []struct{ memory, granted, limit int64 }{
		{256 << 20, 24 << 30, 352 << 20},
		{256 << 20, 512 << 20, 352 << 20},
		{256 << 20, 320 << 20, 300 << 20},
		{1 << 30, 256 << 20, 240 << 20},
		{32 << 20, 64 << 20, 56 << 20},
		{math.MaxInt64, 1 << 40, 1<<40 - 256<<20},
	} {
		require.InDelta(t, tt.limit, heapLimit(tt.memory, tt.granted), 100, "%+v", tt)
	}
}

// TestDefaultMemory: in a small group more is left for what is outside of --max-memory.
func TestDefaultMemory(t *testing.T) {
	for granted, memory := range map[int64]int64{
		64 << 20: 21 << 20, 128 << 20: 42 << 20, 300 << 20: 161 << 20, 512 << 20: 320 << 20, 1 << 30: 704 << 20, 64 << 30: 48<<30 - 64<<20,
	} {
		require.Equal(t, memory, defaultMemory(granted), "%d MiB", granted>>20)
	}
}

// TestShares: the parts of --max-memory are its whole, and each works.
func TestShares(t *testing.T) {
	for _, memory := range []size{minMemory, 5 << 20, 16 << 20, 256 << 20, 1 << 30, 64 << 30} {
		for _, client := range []size{0, 64 << 10, memory / 16, memory / 4} {
			o := options{maxMemory: memory, maxFrame: protocol.DefaultLimit, maxClientOutput: client}
			require.NoError(t, o.checkShares())
			s := o.shares()
			require.Equal(t, int64(memory), s.data+s.requests+s.output)
			require.GreaterOrEqual(t, s.data, int64(memory)/2, "%v, %v", memory, client)
			st, err := store.Open(store.Options{MaxMemory: s.data})
			require.NoError(t, err)
			_, err = netserver.New(netserver.Config{Store: st, RequestMemory: s.requests, OutputMemory: s.output,
				ClientOutput: s.client})
			require.NoError(t, err)
			require.NoError(t, st.Close())
			require.Positive(t, s.chunk())
		}
		o := options{maxMemory: memory, maxClientOutput: memory/4 + 1}
		require.ErrorContains(t, o.checkShares(), "a quarter of --max-memory")
	}
}

// TestFreed: what is more than the collector's room is returned, what can't be is not tried again, and there is a pause.
func TestFreed(t *testing.T) {
	var f freed
	now := time.Now()
	for i, tt := range []struct {
		heap, used uint64
		after      time.Duration
		due        bool
		left       uint64 // of heap, after it was returned
	}{
		{heap: 5 << 20},
		{heap: 1100 << 20, used: 1000 << 20},
		{heap: 1130 << 20, used: 1000 << 20},
		{heap: 1150 << 20, used: 1000 << 20, due: true, left: 1050 << 20},
		{heap: 1050 << 20, used: 100 << 20, after: time.Second},
		{heap: 1050 << 20, used: 100 << 20, after: freedPause, due: true, left: 900 << 20},
		{heap: 900 << 20, used: 100 << 20, after: 2 * freedPause},
		{heap: 900 << 20, used: 80 << 20, after: 2 * freedPause, due: true, left: 20 << 20},
		{heap: 50 << 20, used: 20 << 20, after: 4 * freedPause},
		{heap: 60 << 20, used: 20 << 20, after: 4 * freedPause, due: true},
		// At rest a little is enough, once.
		{heap: 30 << 20, used: 20 << 20, after: 5 * freedPause},
		{heap: 30 << 20, used: 20 << 20, after: 5 * freedPause},
		{heap: 30<<20 + restBytes, used: 20 << 20, after: 5 * freedPause},
		{heap: 30 << 20, used: 20 << 20, after: 5 * freedPause, due: true, left: 26 << 20},
		{heap: 26 << 20, used: 20 << 20, after: 7 * freedPause},
		{heap: 26 << 20, used: 20 << 20, after: 8 * freedPause},
		{heap: 26 << 20, used: 20 << 20, after: 9 * freedPause},
		{heap: 26 << 20, used: 20 << 20, after: 10 * freedPause},
		{heap: 26 << 20, used: 20 << 20, after: 11 * freedPause},
		{heap: 25 << 20, used: 20 << 20, after: 12 * freedPause}, // it was returned
		{heap: 29 << 20, used: 20 << 20, after: 13 * freedPause}, // and there is more
		{heap: 29 << 20, used: 20 << 20, after: 14 * freedPause},
		{heap: 29 << 20, used: 20 << 20, after: 15 * freedPause},
		{heap: 29 << 20, used: 20 << 20, after: 16 * freedPause, due: true, left: 20 << 20},
		// What is left then, since a pool has it, is returned once nothing goes on.
		{heap: 200 << 20, used: 20 << 20, after: 20 * freedPause, due: true, left: 120 << 20},
		{heap: 120 << 20, used: 20 << 20, after: 21 * freedPause},
		{heap: 120 << 20, used: 20 << 20, after: 22 * freedPause},
		{heap: 120 << 20, used: 20 << 20, after: 23 * freedPause},
		{heap: 120 << 20, used: 20 << 20, after: 24 * freedPause, due: true, left: 40 << 20},
		{heap: 40 << 20, used: 20 << 20, after: 26 * freedPause},
		{heap: 40 << 20, used: 20 << 20, after: 27 * freedPause},
		{heap: 40 << 20, used: 20 << 20, after: 28 * freedPause},
		{heap: 40 << 20, used: 20 << 20, after: 29 * freedPause},
	} {
		at := now.Add(tt.after)
		require.Equal(t, tt.due, f.due(tt.heap, tt.used, at), i)
		if tt.due {
			f.returned(tt.left, tt.used, at, 0)
		}
	}
}

// resident returns how many bytes of memory the process has.
func (p *process) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	var all, pages int64
	_, err = fmt.Sscan(string(text), &all, &pages)
	require.NoError(p.t, err)
	return pages * int64(os.Getpagesize())
}

// TestMemoryBytesAreResident: whatever is done, the resident memory is memory_bytes, give or take 3 %, and a constant:
// the program itself, and what Go's heap has while nothing is in it.
func TestMemoryBytesAreResident(t *testing.T) {
	const constant, slack = 16 << 20, 2 << 20
	p := startBinary(t, plainBinary(t), "--max-memory", "1GiB")
	c := p.mustDial(client.Options{})
	check := func(after string) {
		t.Helper()
		stats, err := c.Stats(t.Context())
		require.NoError(t, err)
		resident := p.resident()
		i := slices.IndexFunc(stats, func(s protocol.Stat) bool { return s.Name == "memory_bytes" })
		t.Logf("%s: memory_bytes %d KiB, resident %d KiB", after, stats[i].Value>>10, resident>>10)
		require.InDelta(t, int64(stats[i].Value)+constant, resident, float64(resident)*0.03+slack, after)
	}
	const n = 100_000
	fill := func(after string, size func(i int) int) {
		for i := 0; i < n; i += 500 {
			var pairs []protocol.Pair
			for j := range 500 {
				pairs = append(pairs, protocol.Pair{Key: fmt.Append(nil, "key", i+j), Value: make([]byte, size(i+j))})
			}
			_, err := c.MSet(t.Context(), pairs...)
			require.NoError(t, err)
			if i%20_000 == 0 {
				check(after)
			}
		}
		check(after)
	}
	fill("small values", func(int) int { return 32 })
	fill("of many sizes", func(i int) int { return i % 2000 })
	fill("small again", func(int) int { return 32 })
	fill("some large", func(i int) int {
		if i%20 == 0 {
			return 20_000
		}
		return 32
	})
	fill("those overwritten", func(i int) int {
		if i%20 == 0 {
			return 25_000
		}
		return 100
	})
	for i := 0; i < n; i += 1000 {
		var keys [][]byte
		for j := range 1000 {
			keys = append(keys, fmt.Append(nil, "key", i+j))
		}
		_, _, err := c.Del(t.Context(), keys...)
		require.NoError(t, err)
	}
	check("all deleted")
	require.Eventually(t, func() bool { return p.resident() < 64<<20 }, 20*time.Second, 50*time.Millisecond,
		"it is given back on an idle server")
	check("given back")

	// A large request leaves a buffer that is used again, in a pool.
	large := make([]byte, 60<<20)
	_, err := c.Set(t.Context(), protocol.Set{Key: large, Value: []byte("value")})
	require.NoError(t, err)
	_, _, err = c.Del(t.Context(), large)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.resident() < 50<<20 }, 20*time.Second, 50*time.Millisecond,
		"so is a buffer that nobody uses")
	p.stop(syscall.SIGTERM)
}

// TestMemoryStaysWithinItsLimit: large values by all doors, many at once, do not take more than --max-memory and the
// collector's room.
func TestMemoryStaysWithinItsLimit(t *testing.T) {
	const limit, size, clients, rounds, keys = 200 << 20, 12_000_000, 1, 12, 10
	p := startBinary(t, plainBinary(t), "--max-memory", "200MiB", "--http", "127.0.0.1:0")
	value := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(value)
	var next, done atomic.Int32
	var all sync.WaitGroup
	write := func(set func(key string, value []byte) error) {
		for i := range rounds {
			key := fmt.Sprint("key", next.Add(1)%keys)
			for range 20 { // there may be no memory for one more request now
				if set(key, value[:size-i*300_000]) == nil {
					done.Add(1)
					break
				}
			}
		}
	}
	for range clients {
		all.Go(func() {
			c, err := p.dial(client.Options{})
			if !assert.NoError(t, err) {
				return
			}
			write(func(key string, value []byte) error {
				_, err := c.Set(t.Context(), protocol.Set{Key: []byte(key), Value: value})
				return err
			})
		})
		all.Go(func() {
			nc, err := net.Dial("tcp", p.addr)
			if !assert.NoError(t, err) {
				return
			}
			defer nc.Close()
			in := bufio.NewReader(nc)
			write(func(key string, value []byte) error {
				fmt.Fprintf(nc, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(key), key, len(value), value)
				if line, err := in.ReadString('\n'); err != nil || line != "+OK\r\n" {
					return fmt.Errorf("%q: %w", line, err)
				}
				return nil
			})
		})
		all.Go(func() {
			write(func(key string, value []byte) error {
				q, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.http+"/v1/keys/"+key, bytes.NewReader(value))
				if err != nil {
					return err
				}
				r, err := http.DefaultClient.Do(q)
				if err == nil {
					defer r.Body.Close()
					if r.StatusCode > 299 {
						err = errors.New(r.Status)
					}
				}
				return err
			})
		})
	}
	over := make(chan struct{})
	go func() {
		all.Wait()
		close(over)
	}()
	c := p.mustDial(client.Options{})
	most, counted := uint64(0), uint64(0)
	for ended := false; !ended; {
		select {
		case <-over:
			ended = true
		default:
		}
		stats, err := c.Stats(t.Context())
		require.NoError(t, err)
		figures := map[string]uint64{}
		for _, s := range stats {
			figures[s.Name] = s.Value
		}
		most = max(most, figures["memory_bytes"])
		counted = max(counted, figures["data_memory_bytes"]+figures["request_memory_bytes"]+figures["output_memory_bytes"])
	}
	t.Logf("%d values were stored; memory_bytes was %d MB at most, %d of them counted", done.Load(), most/1e6, counted/1e6)
	require.Positive(t, done.Load())
	require.LessOrEqual(t, counted, uint64(limit))
	require.LessOrEqual(t, most, uint64(limit+roomBytes))
	p.stop(syscall.SIGTERM)
}

// TestMemoryIsGivenBack: an emptied server that nobody uses is small again, and stays so.
func TestMemoryIsGivenBack(t *testing.T) {
	p := startBinary(t, plainBinary(t), "--max-memory", "400MiB")
	c := p.mustDial(client.Options{})
	before := p.resident()
	var keys [][]byte
	for i := range 200 {
		key := fmt.Append(nil, i)
		keys = append(keys, key)
		_, err := c.Set(t.Context(), protocol.Set{Key: key, Value: make([]byte, 1<<20)})
		require.NoError(t, err)
	}
	require.Greater(t, p.resident(), before+190<<20)
	_, _, err := c.Del(t.Context(), keys...)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.resident() < before+40<<20 }, 20*time.Second, 50*time.Millisecond,
		"%d MiB before", before>>20)
	p.stop(syscall.SIGTERM)
}
