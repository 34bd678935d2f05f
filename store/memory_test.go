package store

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A write that is short of memory because of what surrounds its entry (bucket, history) must not ask for the entry's own
// size only: it would be told that there is room, and try forever.
func TestMemoryIsWantedForTheWholeWrite(t *testing.T) {
	for room := int64(0); room <= 512; room += 8 {
		s := openTest(t, Options{MaxMemory: 1 << 40, History: 2}, fullHash)
		for i := range 4 {
			s.put(t, "key", fmt.Sprint("value", i))
		}
		s.budget.limit = s.budget.used.Load() + room
		done := make(chan error)
		go func() {
			c := s.Store.Session()
			defer c.Close()
			_, err := c.Set([]byte("other"), []byte("value"), SetOptions{})
			done <- err
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("with %d bytes of room, Set does not return", room)
		}
	}
}

// A transaction of deletions alone gets its memory as Del does, even for what it adds to the history.
func TestTxnOfDeletionsAlwaysHasMemory(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	s.put(t, "a", "1")
	s.put(t, "b", "2")
	s.budget.limit = 1
	_, version, err := s.Txn(nil, nil, []Op{{Kind: OpDel, Key: []byte("a")}, {Kind: OpDel, Key: []byte("b")}})
	require.NoError(t, err)
	require.NotZero(t, version)
	require.Nil(t, s.Get([]byte("a")))
}

// A store that is full takes, with history, each write that it would take without.
func TestFullStoreOverwritesWithoutHistory(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	s.put(t, "key", "0")
	s.put(t, "other", "0")
	s.budget.limit = s.budget.used.Load()
	for i := 1; i < 5; i++ {
		s.put(t, "key", fmt.Sprint(i))
		_, err := s.MSet(pairsOf("key", fmt.Sprint(i), "other", fmt.Sprint(i)))
		require.NoError(t, err)
	}
	require.Equal(t, "4", text(s.Get([]byte("key"))))
	require.LessOrEqual(t, s.budget.used.Load(), s.budget.limit)
}

// A write that no eviction could make room for does not cost the history.
func TestHopelessWriteKeepsHistory(t *testing.T) {
	s := openTest(t, Options{History: 2, MaxMemory: 1 << 20}, fullHash)
	s.put(t, "key", "0")
	s.put(t, "key", "1")
	_, err := s.Set([]byte("key"), make([]byte, 2<<20), SetOptions{})
	require.ErrorIs(t, err, ErrOutOfMemory)
	require.Equal(t, []string{"1", "0"}, s.past("key"))
}

// A write that is refused memory never makes another one that fits be refused too.
func TestRefusedWriteDoesNotDisturbOthers(t *testing.T) {
	b := budget{limit: 1 << 20}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				assert.False(t, b.take(2<<20))
			}
		}
	})
	for range 20_000 {
		require.True(t, b.take(64))
		b.used.Add(-64)
	}
	close(stop)
	wg.Wait()
}
