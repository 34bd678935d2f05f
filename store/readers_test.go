package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who stays in a view keeps what is replaced from being used again: it is counted, the log says so once, writes go on,
// slower, and all of it is free when he is done.
func TestReaderThatStays(t *testing.T) {
	var log bytes.Buffer
	s := openTest(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fullHash)
	key := []byte("key")
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1<<20) }
	set := func(i int) {
		_, err := s.Set(key, value(i), SetOptions{})
		require.NoError(t, err)
	}
	set(0)
	stays := s.Store.Session()
	defer stays.Close()
	v := stays.View()
	e := v.Get(key)
	const n = mostWaiting>>20 + 2
	for i := range n {
		set(i + 1)
	}
	require.Equal(t, value(0), e.Value())
	require.GreaterOrEqual(t, s.Session.Stats().WaitingBytes, uint64(mostWaiting))
	require.LessOrEqual(t, s.Session.Stats().WaitingBytes, s.Session.Stats().MemoryBytes)

	require.Eventually(t, func() bool { s.sweep(); return s.readers.slow.Load() != nil }, 10*time.Second, 10*time.Millisecond)
	s.sweep()
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")), log.String())
	require.Contains(t, log.String(), "somebody is reading")
	paced := func(write func() error) {
		begin := time.Now()
		require.NoError(t, write())
		require.GreaterOrEqual(t, time.Since(begin), slowWrite)
	}
	paced(func() error { set(100); return nil })
	paced(func() error { _, _, err := s.Del(keysOf("other")); return err })
	paced(func() error { _, err := s.MSet(pairsOf("a", "", "b", "")); return err })
	paced(func() error {
		_, err := s.Update([][]byte{key}, func(u *Update) error { u.Set(key, value(100), 0); return nil })
		return err
	})

	v.Close()
	s.sweep()
	require.Nil(t, s.readers.slow.Load())
	for range 2 * n {
		set(101)
	}
	require.Less(t, s.Session.Stats().WaitingBytes, uint64(4<<20))
}

// A walk that waits for the lock of a key with history is not pinned meanwhile.
func TestWalkWaitsUnpinned(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	for i := range 100 {
		s.put(t, fmt.Sprint(i), "1")
		s.put(t, fmt.Sprint(i), "2")
	}
	var last *shard // that has a key
	for i := range s.shards {
		if s.shards[i].keys > 0 {
			last = &s.shards[i]
		}
	}
	begun, walked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		assert.NoError(t, s.Walk(func(*Entry) error {
			if n++; n == 1 {
				last.Lock()
				close(begun)
			}
			return nil
		}))
		walked <- n
	}()
	<-begun
	assert.Eventually(t, func() bool { return someoneIn("withHistory", "Mutex.Lock") }, 10*time.Second, time.Millisecond)
	reader, _ := s.table.Held()
	last.Unlock()
	require.Equal(t, 200, <-walked)
	require.Empty(t, reader)
}

// someoneIn reports whether there is a goroutine in functions whose names have these in them.
func someoneIn(names ...string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		all := true
		for _, n := range names {
			all = all && bytes.Contains(g, []byte(n))
		}
		if all {
			return true
		}
	}
	return false
}

// A write to a full store that needs what somebody is still reading waits for him, rather than have all history given up in vain.
func TestHistoryWaitsForReaders(t *testing.T) {
	s := openTest(t, Options{History: 4}, fullHash)
	for i := range 500 {
		for range 6 {
			s.put(t, fmt.Sprint("key", i), string(make([]byte, 1000)))
		}
	}
	before := s.Stats().History
	reader := s.Store.Session()
	defer reader.Close()
	v := reader.View()
	s.budget.limit = s.budget.used.Load()
	written := make(chan error)
	go func() {
		c := s.Store.Session()
		defer c.Close()
		_, err := c.Set([]byte("new"), make([]byte, 100_000), SetOptions{})
		written <- err
	}()
	assert.Eventually(t, func() bool { return someoneIn("Domain).WaitForReaders") }, 10*time.Second, time.Millisecond)
	v.Close()
	require.NoError(t, <-written)
	require.Greater(t, s.Stats().History, before/2)
}

// Who looks at what a view has found when it is closed sees it overwritten, sooner or later, if the program is built
// with the race detector; which does not watch that memory.
func TestWhatIsFreedIsOverwrittenUnderTheRaceDetector(t *testing.T) {
	s, err := open(Options{}, fullHash, systemClock, memoryFor(0))
	require.NoError(t, err)
	defer s.Close()
	c := s.Session()
	defer c.Close()
	key, value := []byte("key"), bytes.Repeat([]byte("v"), 100)
	_, err = c.Set(key, value, SetOptions{})
	require.NoError(t, err)
	v := c.View()
	e := v.Get(key)
	late := e.Value()
	v.Close()
	_, _, err = c.Del([][]byte{key})
	require.NoError(t, err)
	require.True(t, s.table.WaitForReaders(10*time.Second))
	require.Equal(t, raceEnabled, !bytes.Equal(value, late), "%q", late)
}
